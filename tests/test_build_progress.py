"""One fraction out of nested phases."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wholebody.export.build_progress import BuildProgress, Progress


def test_phases_within_phases() -> None:
    seen: list[Progress] = []
    now = iter(range(100))
    progress = BuildProgress(seen.append, clock=lambda: float(next(now)))
    progress.phase_start("all", None, 4)
    progress.step_complete("all", 0)
    progress.phase_start("tactics", "all", 2)
    progress.step_complete("tactics", 0)
    progress.step_complete("tactics", 1)
    progress.phase_finish("tactics")
    progress.step_complete("all", 1)
    progress.phase_finish("all")
    assert [p.done for p in seen] == [0.0, 0.25, 0.25, 0.375, 0.5, 0.5, 0.5, 0.5]
    assert seen[0].left is None
    assert seen[4].left == pytest.approx(5.0)  # five seconds for the first half
    assert [p.phase for p in seen[2:4]] == ["tactics", "tactics"]


def test_it_is_printed() -> None:
    assert str(Progress("x", 0.251, None)) == "25%"
    assert str(Progress("x", 0.5, 12.3)) == "50%, 12 s left"


def test_names_that_are_not_known() -> None:
    seen: list[Progress] = []
    progress = BuildProgress(seen.append)
    progress.step_complete("?", 3)
    progress.phase_finish("?")
    progress.phase_start("x", "gone", 0)
    assert [p.done for p in seen] == [0.0, 0.0, 0.0]


calls = st.tuples(
    st.sampled_from("abc"), st.sampled_from(["a", "b", None]), st.integers(0, 5), st.integers(0, 2)
)


@given(st.lists(calls, max_size=30))
def test_it_never_goes_back(made: list[tuple[str, str | None, int, int]]) -> None:
    seen: list[Progress] = []
    progress = BuildProgress(seen.append, clock=lambda: 1.0)
    for name, parent, number, kind in made:
        if kind == 0 and parent != name:
            progress.phase_start(name, None if parent is None or parent >= name else parent, number)
        elif kind == 1:
            progress.step_complete(name, number)
        else:
            progress.phase_finish(name)
    done = [p.done for p in seen]
    assert done == sorted(done)
    assert all(0 <= d <= 1 for d in done)
