"""The table of differences against the names that were recorded from four releases."""

from __future__ import annotations

from typing import Any

import pytest

from wholebody.runtime.backends.trt_versions import FEATURES, may_run, release, require
from wholebody.runtime.errors import BackendError

OLD, NEW = ("8.5", "8.6"), ("10", "11")
# Which of the four recorded releases have a feature.
RECORDED = {
    "explicit batch": (*OLD, "10"),
    "strong types": NEW,
    "fp16": (*OLD, "10"),
    "int8": (*OLD, "10"),
    "precision of a layer": (*OLD, "10"),
    "dynamic range": (*OLD, "10"),
    "optimization level": ("8.6", *NEW),
    "hardware ampere+": ("8.6", *NEW),
    "hardware same-capability": NEW,
    "version-compatible": ("8.6", *NEW),
    "stripped": NEW,
    "progress": NEW,
    "library tactics off": OLD,
    "profile sharing": ("8.6", "10"),
    "named nodes": NEW,
    "code in a plan": ("8.6", *NEW),
    "memory v2": NEW,
    "bare context": (*OLD, "10"),
    "set memory": NEW,
    "refit from onnx": NEW,
}


@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_is_where_it_was_recorded(feature: str, records: Any) -> None:
    known = FEATURES[feature]
    found = []
    for name in records.RELEASES:
        api = records.record(name)
        described = api["classes"].get(known.owner, {"methods": {}, "properties": {}})
        names = {*api["enums"].get(known.owner, ()), *described["methods"], *described["properties"]}
        found += [name] if known.name in names else []
    assert tuple(found) == RECORDED[feature]


def test_what_an_old_release_lacks(fake: Any) -> None:
    if "stripped" in [name for name in FEATURES if fake.release in RECORDED[name]]:
        require(fake.trt, "stripped")
        return
    with pytest.raises(BackendError, match=r"has no option 'stripped'; TensorRT 10 and newer has: leave it"):
        require(fake.trt, "stripped")


def test_versions_are_numbers() -> None:
    assert release("10.16.1.11") == (10, 16, 1, 11) > release("8.6.1") == (8, 6, 1)


@pytest.mark.parametrize(
    ("plan", "here", "compatible", "runs"),
    [
        ("8.6.1", "8.6.1", False, True),
        ("8.6.1", "8.6.2", False, False),
        ("8.6.1", "8.6.2", True, True),
        ("8.6.1", "10.3.0", True, True),
        ("8.6.1", "11.4.0", True, False),
        ("10.3.0", "10.16.1", True, True),
        ("10.16.1", "10.3.0", True, False),
        ("10.3.0", "11.4.0", True, True),
        ("11.4.0", "10.16.1", True, False),
        ("11.4.0", "12.0.0", True, False),
    ],
)
def test_where_a_plan_runs(plan: str, here: str, compatible: bool, runs: bool) -> None:
    assert may_run(plan, here, version_compatible=compatible) is runs
