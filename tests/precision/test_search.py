"""The search of a mix, over students whose drift is a sum that the test knows."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wholebody.export.certificate import Matching, Spread
from wholebody.export.precision.drift import Drift, PoseDrift, PrecisionBudget
from wholebody.export.precision.layers import Layer
from wholebody.export.precision.mixes import Mix, Mixes
from wholebody.export.precision.search import Searched, search_mix
from wholebody.export.precision.sensitivity import LayerDrift, Sensitivity, measure_sensitivity, used
from wholebody.runtime.errors import WholebodyError

BUDGET = PrecisionBudget(oks=0.99, px=0.5, mm=3)


class Additive:
    """A student of which each layer costs OKS of the hands: in INT8 `loss`, in FP16 `half` of it, summed.

    together  what pairs of layers cost beyond that when both are in INT8
    slow      milliseconds that a layer in INT8 adds to 10, where it is not one fewer
    """

    kept = frozenset[str]()

    def __init__(
        self,
        loss: Mapping[str, float],
        *,
        macs: Mapping[str, int] | None = None,
        half: Mapping[str, float] | None = None,
        together: Mapping[frozenset[str], float] | None = None,
        slow: Mapping[str, float] | None = None,
        target: str = "cpu",
    ) -> None:
        self.loss, self.half, self.together = loss, half or {}, together or {}
        self.slow, self.target = slow or {}, target
        self.layers = tuple(Layer(name, "Conv", (macs or {}).get(name, 100)) for name in loss)
        self.to_quantize = self.layers
        self.measured: list[Mix] = []

    def drift(self, mix: Mix) -> Drift:
        self.measured.append(mix)
        lost = sum(self.loss[name] for name in mix.int8) + sum(self.half.get(name, 0) for name in mix.fp16)
        lost += sum(cost for pair, cost in self.together.items() if pair <= mix.int8)
        parts = {"body": part(1.0), "hands": part(1 - lost)}
        return Drift("fp32", "mixed", 8, Matching(8, 0, 0), parts)

    def latencies_ms(self, mixes: Iterable[Mix]) -> dict[Mix, float]:
        return {mix: 10 + sum(self.slow.get(name, -1) for name in mix.int8) for mix in mixes}

    def share(self, names: Iterable[str]) -> float:
        wanted = set(names)
        return sum(la.macs for la in self.layers if la.name in wanted) / sum(la.macs for la in self.layers)


def part(oks: float, px: float = 0.0) -> PoseDrift:
    return PoseDrift(Matching(100, 0, 0), oks, Spread(median=px), None, 0.0, 0.0)


def search(student: Additive, **options: Any) -> Searched:
    mixes = cast("Mixes", student)
    sensitivity = measure_sensitivity(mixes)
    student.measured.clear()
    return search_mix(mixes, sensitivity, BUDGET, **options)


def test_everything_fits() -> None:
    found = search(Additive({"a": 0.001, "b": 0.002, "c": 0.003}))
    assert found.chosen.mix == Mix.of(int8="abc")
    assert found.chosen.int8 == 1
    assert found.fits
    assert found.obstacles == ()


def test_a_layer_that_is_over_budget_alone_is_never_tried_with_others() -> None:
    student = Additive({"a": 0.001, "bad": 0.05, "c": 0.001})
    found = search(student)
    assert found.chosen.mix.int8 == {"a", "c"}
    assert [(o.name, o.failures) for o in found.obstacles] == [("bad", ("hands: OKS 0.9500 (budget 0.99)",))]
    assert "bad (33.3% of the multiply-accumulates): hands: OKS 0.9500" in found.summary()


def test_drifts_that_add_up_are_seen() -> None:
    """Each alone is within budget; together they are not."""
    found = search(Additive(dict.fromkeys("abcdef", 0.004)))
    assert len(found.chosen.mix.int8) == 2
    assert not found.chosen.failures
    assert len(found.obstacles) == 4


def test_drifts_that_only_a_pair_has_are_seen() -> None:
    student = Additive(dict.fromkeys("abcd", 0.001), together={frozenset("ad"): 0.1})
    found = search(student)
    assert len(found.chosen.mix.int8) == 3
    assert not frozenset("ad") <= found.chosen.mix.int8


def test_the_layers_with_most_work_for_their_drift_come_first() -> None:
    found = search(Additive({"small": 0.006, "large": 0.006}, macs={"small": 1, "large": 99}))
    assert found.chosen.mix.int8 == {"large"}
    assert found.chosen.int8 == pytest.approx(0.99)


def test_a_group_that_is_over_budget_is_taken_apart() -> None:
    student = Additive({"a": 0.001, "bad": 0.05, "c": 0.001, "d": 0.001})
    mixes = cast("Mixes", student)
    found = search_mix(mixes, measure_sensitivity(mixes, groups=2), BUDGET)
    assert found.chosen.mix.int8 == {"a", "c", "d"}
    assert [o.name for o in found.obstacles] == ["bad"]


def test_small_layers_are_not_taken_apart() -> None:
    """What computes less than one part in a hundred is worth no measurement of its own."""
    loss = {"large": 0.001, **{f"tiny{i}": 0.0095 for i in range(64)}}
    student = Additive(loss, macs={"large": 100_000, **{f"tiny{i}": 1 for i in range(64)}})
    found = search(student)
    assert found.chosen.mix.int8 == {"large"}
    assert len(set(student.measured)) < 20
    assert len(found.obstacles) == 64


def test_where_nothing_fits_part_and_layer_are_named() -> None:
    found = search(Additive({"a": 0.02, "b": 0.03}))
    assert not found.fits
    assert found.chosen.mix == Mix()
    text = found.summary()
    assert "no layer fits the budget in reduced precision, not even alone" in text
    assert "a (50.0% of the multiply-accumulates): hands: OKS 0.9800 (budget 0.99)" in text
    assert "b (50.0%" in text


def test_for_tensorrt_the_rest_is_in_fp16() -> None:
    found = search(Additive({"a": 0.001, "bad": 0.05, "c": 0.001}, target="tensorrt"))
    assert found.chosen.mix == Mix.of(int8="ac", fp16=["bad"])
    assert found.chosen.fp16 == pytest.approx(1 / 3)
    assert any(point.mix == Mix() and point.latency_ms == 10 for point in found.points)


def test_what_fp16_breaks_stays_in_fp32() -> None:
    student = Additive(
        {"a": 0.02, "norm": 0.02, "c": 0.001}, half={"norm": 0.5, "a": 0.0001}, target="tensorrt"
    )
    found = search(student)
    assert found.chosen.mix == Mix.of(int8=["c"], fp16=["a"])


def test_layers_that_are_no_good_in_fp16_are_not_tried_in_it() -> None:
    student = Additive({"a": 0.02, "decode": 0.02, "c": 0.0}, target="tensorrt")
    student.kept = frozenset({"decode"})
    found = search(student)
    assert found.chosen.mix == Mix.of(int8=["c"], fp16=["a"])
    assert all("decode" not in mix.fp16 for mix in student.measured)


def test_a_cpu_gets_the_fastest_that_fits() -> None:
    """More in INT8 is not faster where it lies between layers that are not."""
    found = search(Additive({"a": 0.001, "b": 0.002, "lone": 0.003}, slow={"lone": 5.0}))
    assert found.chosen.mix.int8 == {"a", "b"}
    assert found.chosen.latency_ms == 8
    untimed = search(Additive({"a": 0.001, "b": 0.002, "lone": 0.003}), time_it=False)
    assert untimed.chosen.mix.int8 == {"a", "b", "lone"}
    assert untimed.chosen.latency_ms is None


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 0.02), min_size=1),
    st.sampled_from(["cpu", "tensorrt"]),
)
def test_what_is_chosen_is_within_budget_and_on_the_frontier(loss: dict[str, float], target: str) -> None:
    found = search(Additive(loss, target=target))
    assert not found.chosen.failures
    frontier = found.frontier
    assert [p.int8 for p in frontier] == sorted(p.int8 for p in frontier)
    assert all(a.worst_oks > b.worst_oks for a, b in pairwise(frontier))
    assert all(any(p.int8 >= q.int8 and p.worst_oks >= q.worst_oks for p in frontier) for q in found.points)
    taken, refused = found.chosen.mix.int8, {o.name for o in found.obstacles}
    assert taken.isdisjoint(refused) or target == "cpu"


def test_the_pareto_file_tells_it_all() -> None:
    found = search(Additive({"a": 0.001, "bad": 0.05, "c": 0.004}))
    data = json.loads(json.dumps(found.to_dict()))
    assert data["budget"] == {"oks": 0.99, "px": 0.5, "mm": 3}
    assert data["chosen"]["int8"] == ["a", "c"]
    assert data["chosen"]["within_budget"]
    assert data["chosen"]["latency_ms"] == 8
    assert data["chosen"]["drift"]["parts"]["hands"]["oks"] == pytest.approx(0.995)
    assert data["obstacles"][0]["layer"] == "bad"
    shares = [point["int8_share"] for point in data["points"]]
    assert shares[0] == 0
    assert shares[-1] == 1
    assert any(point["pareto"] for point in data["points"])
    fp32 = data["points"][0]
    assert (fp32["latency_ms"], fp32["int8"]) == (10, [])


def test_a_report_tells_what_is_tried() -> None:
    told = list[str]()
    search(Additive({"a": 0.001}), report=lambda done, count, what: told.append(what))
    assert told[0] == "100% in INT8, 0% in FP16"


def test_where_int8_is_slower_the_search_says_so() -> None:
    """Small networks of small layers lose more by rounding than they gain."""
    slower = {"a": 1.0, "b": 0.5}
    found = search(Additive({"a": 0.001, "b": 0.002}, slow=slower))
    assert found.chosen.mix == Mix()
    assert not found.fits
    assert found.summary().startswith("FP32 is fastest on this CPU: 10 ms, with INT8 1")
    assert search(Additive({"a": 0.001, "b": 0.002}, slow=slower, target="tensorrt")).fits


# --- sensitivity --------------------------------------------------------------------------------------------


def test_sensitivity_is_of_each_layer_alone() -> None:
    student = Additive({"a": 0.001, "b": 0.02, "c": 0.004})
    found = measure_sensitivity(cast("Mixes", student))
    assert [one.name for one in found.layers] == ["a", "b", "c"]
    assert student.measured == [Mix.of(int8=[name]) for name in "abc"]
    assert [used(one.drift, BUDGET) for one in found.layers] == pytest.approx([0.1, 2, 0.4])
    assert [one.name for one in found.order(BUDGET)] == ["a", "c", "b"]
    rows = found.table(BUDGET).splitlines()
    assert [row.split()[0] for row in rows[2:]] == ["b", "c", "a"]
    assert json.loads(json.dumps(found.to_dict()))["layers"][1]["drift"]["parts"]["hands"]["oks"] == 0.98


def test_sensitivity_to_fp16_and_of_groups() -> None:
    student = Additive(dict.fromkeys("abcde", 0.001))
    measure_sensitivity(cast("Mixes", student), "fp16", groups=2)
    assert student.measured == [Mix.of(fp16="ab"), Mix.of(fp16="cde")]
    assert [len(mix.int8) for mix in measured(student, groups=99)] == [1] * 5


def measured(student: Additive, groups: int) -> list[Mix]:
    student.measured.clear()
    measure_sensitivity(cast("Mixes", student), groups=groups)
    return student.measured


def test_a_student_without_layers_has_no_sensitivity() -> None:
    found = measure_sensitivity(cast("Mixes", Additive({})))
    assert found.layers == ()
    assert "MACs" in found.table(BUDGET)


def test_a_budget_of_nothing_is_used_up_by_anything() -> None:
    none = PrecisionBudget(oks=1, px=0, mm=0)
    drift = Drift("", "", 1, Matching(), {"body": part(1.0)})
    assert used(drift, none) == 0
    assert used(Drift("", "", 1, Matching(), {"body": part(1.0, px=0.1)}), none) == float("inf")


def test_a_group_goes_by_its_first_and_last_layer() -> None:
    layers = tuple(Layer(name, "Conv", 5) for name in "abc")
    one = LayerDrift(layers, Drift("", "", 1, Matching()))
    assert (one.name, one.macs) == ("a … c", 15)
    assert Sensitivity("int8", "cpu", 15, (one,)).order(BUDGET) == [one]


# --- plots --------------------------------------------------------------------------------------------------


def test_plots_are_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from wholebody.export.precision.plots import plot_search, plot_sensitivity

    student = Additive({"a": 0.001, "bad": 0.05, "c": 0.004})
    plot_sensitivity(measure_sensitivity(cast("Mixes", student)), BUDGET, tmp_path / "layers.png")
    plot_search(search(student), tmp_path / "pareto.png")
    for name in ("layers.png", "pareto.png"):
        picture = cv2.imread(str(tmp_path / name))
        assert picture is not None
        assert picture.std() > 10
    with pytest.raises(WholebodyError, match="cannot be written"):
        plot_search(search(student), tmp_path / "none" / "pareto.png")


def test_plots_without_matplotlib_name_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wholebody.export.precision.plots import plot_search

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(WholebodyError, match=r'pip install "wholebody\[bench\]"'):
        plot_search(search(Additive({"a": 0.001})), tmp_path / "pareto.png")
