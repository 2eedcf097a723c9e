"""`wholebody bench compare`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from wholebody.benchmarks.compare import Change, compare
from wholebody.benchmarks.pairs import IncomparableError
from wholebody.benchmarks.report.comparison import markdown
from wholebody.cli import main
from wholebody.runtime.errors import SourceError


@pytest.fixture
def files(tmp_path: Path, samples: ModuleType) -> Any:
    """`files([runs of old], [runs of new])`: two paths."""

    def write(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> tuple[Path, Path]:
        for name in ("old.jsonl", "new.jsonl"):
            (tmp_path / name).unlink(missing_ok=True)
        return samples.write(tmp_path / "old.jsonl", *old), samples.write(tmp_path / "new.jsonl", *new)

    return write


def by_name(changes: Any) -> dict[str, Change]:
    return {each.name: each for each in changes}


def test_the_same_file_twice_shows_nothing(files: Any, samples: ModuleType) -> None:
    runs = [samples.latency_run(), samples.accuracy_run()]
    found = compare(*files(runs, runs))
    assert found.count("no evidence") == len(found.changes) == 3 + len(samples.METRICS)


def test_a_setting_that_was_measured_twice_is_held_against_the_same_time(
    files: Any, samples: ModuleType
) -> None:
    runs = [samples.latency_run(40.0), {**samples.latency_run(60.0, seed=1), "id": "again"}]
    assert {each.verdict for each in compare(*files(runs, runs)).changes} == {"no evidence"}


def test_slower_is_worse_and_faster_is_better(files: Any, samples: ModuleType) -> None:
    old, new = files([samples.latency_run(40.0)], [samples.latency_run(44.0, seed=1)])
    slower, faster = compare(old, new), compare(new, old)
    assert {each.verdict for each in slower.changes} == {"worse"}
    assert {each.verdict for each in faster.changes} == {"better"}
    change = by_name(slower.changes)["p50"].change
    assert change is not None
    assert change.interval is not None
    assert change.interval[0] < 1.1 < change.interval[1]
    assert not slower.changes[0].anchored


def test_a_slower_machine_is_not_a_slower_student(files: Any, samples: ModuleType) -> None:
    """PyTorch, that took turns with both, was slower by as much; it is told, and is nobody's fault."""
    old = [samples.latency_run(80.0, backend=samples.TORCH), samples.latency_run(40.0, seed=1)]
    new = [samples.latency_run(96.0, backend=samples.TORCH, seed=2), samples.latency_run(48.0, seed=3)]
    found = compare(*files(old, new))
    assert {each.verdict for each in found.changes} == {"no evidence"}
    assert all(each.anchored for each in found.changes)
    (reference,) = [each for each in found.references if each.name == "network p50"]
    assert reference.change is not None
    assert reference.change.value == pytest.approx(1.2, rel=0.02)
    assert "PyTorch itself" in markdown(found)


def test_another_pytorch_is_no_anchor(files: Any, samples: ModuleType) -> None:
    machine = {**samples.MACHINE, "versions": {"torch": "3.0"}}
    old = [samples.latency_run(80.0, backend=samples.TORCH), samples.latency_run(40.0, seed=1)]
    new = [
        samples.latency_run(96.0, backend=samples.TORCH, machine=machine),
        samples.latency_run(40.0, machine=machine),
    ]
    assert not any(each.anchored for each in compare(*files(old, new)).changes)


def test_accuracy_is_better_or_worse_by_its_direction(files: Any, samples: ModuleType) -> None:
    old, new = files([samples.accuracy_run(0.0)], [samples.accuracy_run(-0.05)])
    assert {each.verdict for each in compare(old, new).changes} == {"worse"}
    found = compare(new, old)
    assert {each.verdict for each in found.changes} == {"better"}
    error = by_name(found.changes)["body/mpjpe"]
    assert error.change is not None
    assert error.change.value == pytest.approx(-133.0 * 0.05)
    assert error.anchored


def test_without_the_same_reference_intervals_are_those_of_the_figures(
    files: Any, samples: ModuleType
) -> None:
    old, new = samples.accuracy_run(0.0), samples.accuracy_run(-0.01)
    new["reference"] = None
    found = compare(*files([old], [new]))
    assert {(each.verdict, each.anchored) for each in found.changes} == {("no evidence", False)}


def test_what_only_one_has_is_named(files: Any, samples: ModuleType) -> None:
    both, gone, more = (
        samples.latency_run(),
        samples.latency_run(precision="int8"),
        samples.latency_run(people=8),
    )
    found = compare(*files([both, gone], [both, more]))
    assert [run.model.precision for run in found.only_old] == ["int8"]
    assert [run.settings.people for run in found.only_new] == [8]
    text = markdown(found)
    assert "Only in the old file: dope-mini · INT8" in text
    assert "Only in the new file: dope-mini · FP32" in text


def test_a_new_version_of_a_runtime_is_matched(files: Any, samples: ModuleType) -> None:
    old, new = (
        samples.latency_run(backend="tensorrt:10.3.0"),
        samples.latency_run(backend="tensorrt:11.4.0.106"),
    )
    assert len(compare(*files([old], [new])).changes) == 3


def test_the_exact_match_comes_first(files: Any, samples: ModuleType) -> None:
    small, large = samples.latency_run(size=[240, 320]), samples.latency_run(size=[480, 640])
    found = compare(*files([small, large], [large, small]))
    assert {(each.pair.old.settings.size, each.pair.new.settings.size) for each in found.changes} == {
        ((480, 640), (480, 640)), ((240, 320), (240, 320)),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"settings": {"pictures": "other"}}, "pictures 5f5f.* before, other now"),
        ({"settings": {"size": [720, 1280]}}, "size 480 640 before, 720 1280 now"),
        ({"machine": {"cpu": "Cortex-A78AE"}}, "cpu AMD EPYC 9R14 before, Cortex-A78AE now"),
        ({"machine": {"gpu": {"name": "Orin"}}}, "GPU none before, Orin now"),
        ({"machine": {"power_mode": "15W"}}, "power_mode none before, 15W now"),
        ({"threads": 1}, "threads 2 before, 1 now"),
    ],
)
def test_other_pictures_sizes_and_machines_are_refused(
    files: Any, samples: ModuleType, change: dict[str, Any], line: str
) -> None:
    run = samples.latency_run()
    other = {**run, **{k: {**run[k], **v} if isinstance(v, dict) else v for k, v in change.items()}}
    old, new = files([run], [other])
    with pytest.raises(IncomparableError, match="--force") as caught:
        compare(old, new)
    (told,) = caught.value.lines
    assert re.search(line, told)
    forced = compare(old, new, force=True)
    assert len(forced.changes) == 3
    assert f"Not the same: {told}" in markdown(forced)


def test_accuracy_may_be_of_another_machine_but_not_of_other_pictures(
    files: Any, samples: ModuleType
) -> None:
    run = samples.accuracy_run()
    elsewhere = samples.accuracy_run(machine={**samples.MACHINE, "cpu": "another"})
    assert compare(*files([run], [elsewhere])).count("no evidence") == len(samples.METRICS)
    fewer = {**run, "dataset": {**run["dataset"], "pictures": 100}}
    with pytest.raises(IncomparableError):
        compare(*files([run], [fewer]))


def test_runs_that_have_nothing_in_common_are_refused(files: Any, samples: ModuleType) -> None:
    with pytest.raises(SourceError, match="measure both with the same command"):
        compare(*files([samples.latency_run()], [samples.accuracy_run()]))


def test_nulls_are_no_evidence(files: Any, samples: ModuleType) -> None:
    latency, accuracy = samples.latency_run(), samples.accuracy_run()
    bare = {**latency, "times": None, "network_times": None, "ms": None}
    empty = {
        name: {**figure, "value": None, "difference": None} for name, figure in accuracy["metrics"].items()
    }
    found = compare(*files([latency, accuracy], [bare, {**accuracy, "metrics": empty}]))
    assert {each.verdict for each in found.changes} == {"no evidence"}
    assert "nan" not in markdown(found).lower()


def test_many_figures_do_not_cry_wolf(files: Any, samples: ModuleType) -> None:
    """Thirty students measured twice: at 95 % each, four of ninety figures would be told by chance."""
    old = [samples.latency_run(40.0, name=f"s{k}", seed=k, noise=0.05) for k in range(30)]
    new = [samples.latency_run(40.0, name=f"s{k}", seed=100 + k, noise=0.05) for k in range(30)]
    found = compare(*files(old, new))
    assert found.count("worse") + found.count("better") <= 2


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """`command(old, new)`: exit code, standard output and the lines of standard error."""

    def run(*arguments: Any) -> tuple[int, str, list[str]]:
        monkeypatch.setattr(sys, "argv", ["wholebody", "bench", "compare", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        told = capfd.readouterr()
        return int(stopped.value.code or 0), told.out, told.err.splitlines()

    return run


def test_exit_codes(files: Any, samples: ModuleType, tmp_path: Path, command: Any) -> None:
    old, new = files([samples.latency_run(40.0)], [samples.latency_run(48.0, seed=1)])
    assert command(old, old)[0] == 0
    assert command(new, old)[0] == 0
    code, table, _ = command(old, new)
    assert code == 1
    assert "**worse**" in table
    for wrong in (tmp_path / "none.jsonl", tmp_path):
        code, table, told = command(old, wrong)
        assert (code, table, len(told)) == (2, "", 1)


def test_refusals_are_a_line_each(files: Any, samples: ModuleType, command: Any) -> None:
    run = samples.latency_run()
    other = {**run, "threads": 1, "machine": {**run["machine"], "cpu": "another"}}
    old, new = files([run], [other])
    code, table, told = command(old, new)
    assert (code, table) == (2, "")
    assert [line.split()[-4:] for line in told[:2]] == [
        ["2", "before,", "1", "now"], ["9R14", "before,", "another", "now"],
    ]  # fmt: skip
    assert len(told) == 3
    assert told[2].startswith("error: 2 differences")
    code, table, _ = command(old, new, "--force")
    assert code == 0
    assert table.count("Not the same") == 2


def test_an_old_format_is_refused(files: Any, samples: ModuleType, tmp_path: Path) -> None:
    old, new = files([samples.latency_run()], [samples.latency_run()])
    old.write_text('{"format": 0}\n')
    with pytest.raises(SourceError, match="format 0, this version reads 1"):
        compare(old, new)
