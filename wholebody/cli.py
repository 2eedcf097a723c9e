"""The command line.

Heavy libraries are imported inside the command that needs them. A user's error is one line on standard error
and exit code 2; Ctrl-C ends with 130 and SIGTERM with 143, with what was finished on disk.
"""

from __future__ import annotations

import signal
import sys
from io import TextIOWrapper
from types import FrameType
from typing import NoReturn

import typer

from wholebody.commands import building, exporting, quantizing, running
from wholebody.commands.bench import accuracy, compare, latency, peer, report
from wholebody.console import Stopped, errors
from wholebody.runtime.errors import WholebodyError

__all__ = ["app", "main"]

EXTRAS = {  # the modules that may be missing, and what brings them
    "bench": {"faster_coco_eval", "matplotlib"},
    "export": {"torch", "onnx", "onnxscript", "onnxslim", "safetensors"},
    "gpu": {"pycuda", "tensorrt"},
}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Take a distilled whole-body pose student from its checkpoint to a verified engine, and run it.",
)
bench = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Measure latency and accuracy.")
app.command()(exporting.fetch)
app.command()(exporting.export)
app.command()(quantizing.quantize)
app.command()(exporting.verify)
app.command()(building.build)
app.command()(running.run)
app.command()(running.demo)
app.command()(running.doctor)
app.add_typer(bench, name="bench")
bench.command()(accuracy.accuracy)
bench.command()(latency.latency)
bench.command()(peer.peer)
bench.command()(report.report)
bench.command()(compare.compare)


def _fail(error: Exception, cure: str = "") -> NoReturn:
    errors.print(" ".join(f"error: {error}{': ' if cure else ''}{cure}".split()))
    sys.exit(2)


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one must not cut short the video that is being finished
    raise Stopped(number)


def _stop_on_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _stop)


def _escape_what_cannot_be_written() -> None:
    """Where the terminal's encoding has no `–`, as ASCII and Latin-1."""
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def main() -> None:
    """Run the command line; a user's error is one line and exit code 2."""
    _stop_on_signals()
    _escape_what_cannot_be_written()
    try:
        app(prog_name="wholebody")
    except (WholebodyError, OSError) as error:
        _fail(error)
    except MemoryError:
        _fail(MemoryError("out of memory"), "take smaller pictures or crops")
    except ImportError as error:
        missing = (error.name or "").split(".")[0]
        extra = next((name for name, modules in EXTRAS.items() if missing in modules), None)
        _fail(error, f"pip install 'wholebody[{extra}]'" if extra else "see `wholebody doctor`")
    except Stopped as stopped:
        errors.print(f"stopped{': ' if stopped.done else ''}{stopped.done}")
        sys.exit(128 + stopped.number)


if __name__ == "__main__":
    main()
