"""The README's measured table is that of the recorded runs."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from wholebody.benchmarks.reading import load_runs
from wholebody.benchmarks.report.readme import BEGIN, END, main, measured, with_measured
from wholebody.runtime.errors import SourceError

ROOT = Path(__file__).resolve().parents[3]
README = ROOT / "README.md"
RECORDED = sorted((ROOT / "benchmarks" / "results").glob("*.jsonl"))


def test_the_table_is_put_between_the_comments(tmp_path: Path, samples: ModuleType) -> None:
    runs = samples.write(tmp_path / "runs.jsonl", *samples.small_suite(tmp_path))
    readme = tmp_path / "README.md"
    readme.write_text(f"# before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    main([str(readme), str(runs)])
    text = readme.read_text("utf-8")
    assert text == f"# before\n\n{BEGIN}\n{measured(load_runs([runs]))}\n{END}\n\nafter\n"
    main([str(readme), str(runs)])
    assert readme.read_text("utf-8") == text


def test_the_table_has_a_row_for_each_student_and_way(tmp_path: Path, samples: ModuleType) -> None:
    runs = load_runs([samples.write(tmp_path / "runs.jsonl", *samples.small_suite(tmp_path))])
    rows = [line for line in measured(runs).splitlines() if line.startswith("| dope-mini")]
    assert [row.split("|")[1].strip() for row in rows] == [
        "dope-mini (FP32 · PyTorch)", "dope-mini (FP32 · ONNX Runtime CPU)", "dope-mini (INT8 · ONNX "
        "Runtime CPU)",
    ]  # fmt: skip
    assert "62.2 %" in rows[0]  # the reference's own figure
    assert "−1.87 points" in rows[2]


def test_a_student_that_was_only_judged_has_its_row(tmp_path: Path, samples: ModuleType) -> None:
    runs = load_runs(
        [samples.write(tmp_path / "runs.jsonl", samples.accuracy_run(), samples.accuracy_run(dataset="b"))]
    )
    rows = [line for line in measured(runs).splitlines() if line.startswith("| dope-mini")]
    assert len(rows) == 1


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_a_readme_without_the_comments_is_refused(text: str) -> None:
    with pytest.raises(SourceError, match="once each"):
        with_measured(text, [])


@pytest.mark.skipif(not RECORDED, reason="no runs are recorded in benchmarks/results")
def test_this_readme_agrees_with_the_recorded_runs() -> None:
    text = README.read_text("utf-8")
    assert with_measured(text, load_runs(RECORDED)) == text
