"""Measurements on disk, each before the next one begins, so that what was cut off goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wholebody.runtime.errors import WholebodyError

__all__ = ["Ledger", "default_ledger"]


def default_ledger(sha256: str) -> Path:
    """Where measurements of the student with this hash are kept: below $XDG_CACHE_HOME, or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "wholebody" / "precision" / f"{sha256}.jsonl"


class Ledger:
    """Answers by what was asked, in a file of one JSON object a line; None keeps them in memory alone.

    A last line that was cut off is measured again. Raises WholebodyError where the file cannot be read or
    written.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._known: dict[str, Any] = {}
        for line in self._lines():
            try:
                entry = json.loads(line)
                self._known[entry["key"]] = entry["answer"]
            except (ValueError, KeyError, TypeError):
                continue

    def __len__(self) -> int:
        return len(self._known)

    def get(self, question: Mapping[str, Any]) -> Any:
        """The answer to a question of plain values, or None."""
        return self._known.get(_key(question))

    def put(self, question: Mapping[str, Any], answer: Any) -> None:
        """Keep an answer of plain values."""
        key = _key(question)
        self._known[key] = answer
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                # The line break comes first: it ends a line that was cut off before.
                file.write("\n" + json.dumps({"key": key, "answer": answer}))
        except OSError as error:
            raise WholebodyError(f"{self.path}: cannot be written ({error.strerror})") from error

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text("utf-8").splitlines() if self.path and self.path.is_file() else []
        except (OSError, UnicodeDecodeError) as error:
            raise WholebodyError(f"{self.path}: cannot be read ({error}); delete it") from error


def _key(question: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()
