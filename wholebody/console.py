"""Where the command line speaks: answers on standard output, everything else on standard error."""

from __future__ import annotations

from rich.console import Console

__all__ = ["Stopped", "console", "errors"]

console = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
errors = Console(markup=False, emoji=False, highlight=False, soft_wrap=True, stderr=True)


class Stopped(BaseException):
    """Ctrl-C (SIGINT) or SIGTERM; `done` tells what was finished by then."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.done = ""
