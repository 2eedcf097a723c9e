"""A file is there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from wholebody.runtime.whole import whole


def test_the_file_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with whole(path) as partial:
        partial.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("old")

    def fail() -> None:
        with whole(path) as partial:
            partial.write_text("half")
            raise RuntimeError("no room")

    with pytest.raises(RuntimeError, match="no room"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
