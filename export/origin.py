"""What `wholebody fetch` wrote down about a file: its published name and licence, for the exports of it."""

from __future__ import annotations

import json
from pathlib import Path

from wholebody.export.fetch import origin_path

__all__ = ["origin_notes"]


def origin_notes(path: Path, sha256: str) -> dict[str, str]:
    """`name` and `licence`; nothing where the file was not fetched, or is another one by now."""
    try:
        record = json.loads(origin_path(path).read_text("utf-8"))
        if record["sha256"] != sha256:
            return {}
        return {"name": str(record["name"]), "licence": str(record["weights_licence"])}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
