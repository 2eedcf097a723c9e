"""Where a run came from: when, by which command, from which revision, on what machine (docs/runs.md)."""

from __future__ import annotations

import shlex
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from wholebody.benchmarks.machine import Machine

__all__ = ["provenance", "revision"]


def provenance(machine: Machine) -> dict[str, Any]:
    """The entries "when", "command", "git" and "machine" of a run."""
    return {
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "git": revision(),
        "machine": machine.to_dict(),
    }


def revision() -> str | None:
    """The revision of this package's checkout, `+dirty` behind it where tracked files were changed."""
    here = Path(__file__).resolve().parent
    if (head := _git(here, "rev-parse", "HEAD")) is None:
        return None
    return f"{head}+dirty" if _git(here, "status", "--porcelain", "--untracked-files=no") else head


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says, or None where there is no git, no repository or not this file in it."""
    tracked = ["git", "-C", str(folder), "ls-files", "--error-unmatch", Path(__file__).name]
    try:
        for command in (tracked, ["git", "-C", str(folder), *arguments]):
            done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
