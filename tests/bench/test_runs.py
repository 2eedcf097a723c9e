"""`benchmarks.runs`."""

from __future__ import annotations

from pathlib import Path

import pytest

from wholebody.benchmarks.runs import append_run, read_runs, run_id
from wholebody.runtime.errors import SourceError


def test_there_are_no_runs_before_the_first(tmp_path: Path) -> None:
    assert read_runs(tmp_path / "runs.jsonl") == []


def test_runs_come_back_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    append_run(path, {"id": "a"})
    append_run(path, {"id": "b", "ms": [1.5, None]})
    assert read_runs(path) == [{"format": 1, "id": "a"}, {"format": 1, "id": "b", "ms": [1.5, None]}]


def test_a_line_that_was_cut_off_is_left_out_and_then_replaced(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    append_run(path, {"id": "a"})
    with path.open("ab") as file:
        file.write(b'{"format": 1, "id": "b", "m')
    assert [run["id"] for run in read_runs(path)] == ["a"]
    append_run(path, {"id": "c"})
    assert [run["id"] for run in read_runs(path)] == ["a", "c"]


@pytest.mark.parametrize("line", [b"PNG\n", b"[1]\n", b"{}\n", b"\xff\xfe\n"])
def test_what_is_no_run_is_refused_with_its_line(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "runs.jsonl"
    append_run(path, {"id": "a"})
    with path.open("ab") as file:
        file.write(line)
    with pytest.raises(SourceError, match="line 2"):
        read_runs(path)


def test_an_old_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text('{"format": 0}\n')
    with pytest.raises(SourceError, match="format 0, this version reads 1"):
        read_runs(path)


def test_nothing_that_is_not_a_number_is_written(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_run(path, {"ms": float("nan")})
    assert not path.exists()


def test_an_id_is_of_what_was_asked_in_any_order() -> None:
    assert run_id({"a": 1, "b": [2]}) == run_id({"b": [2], "a": 1}) != run_id({"a": 1, "b": [3]})
