"""Descriptions of every family: what they refuse, and that they survive JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.skeletons import SKELETONS
from wholebody.runtime.spec import (
    FAMILIES,
    AnySpec,
    CropInput,
    DepthSpec,
    DetectorInput,
    DetectorSpec,
    TopDownSpec,
    WeightsSpec,
    spec_from_dict,
    verified,
)

SKELETON = "coco_hand21"
WEIGHTS = WeightsSpec("made up", "0" * 64, "none")
TOP_DOWN = TopDownSpec(
    name="tiny",
    head="simcc",
    input=CropInput(256, 192, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "rgb"),
    skeleton=SKELETON,
    weights=WEIGHTS,
)
DETECTOR = DetectorSpec(
    name="finder",
    layout="yolox",
    input=DetectorInput(416, 416, (0, 0, 0), (1, 1, 1), "bgr"),
    weights=WEIGHTS,
)


def through_json(spec: AnySpec) -> AnySpec:
    return spec_from_dict(json.loads(json.dumps(spec.to_dict())))


@pytest.mark.parametrize(
    "spec",
    [
        TOP_DOWN,
        replace(TOP_DOWN, depth=DepthSpec(576, 2.1744869), certificate={"body": {"px": 0.1}}, split=3.0),
        replace(TOP_DOWN, head="heatmap", padding=1.0, precision="int8", udp=True, answers=("maps",)),
        DETECTOR,
        replace(DETECTOR, layout="suppressed", person=3, versions={"wholebody": "1"}),
    ],
    ids=["top-down", "depth", "heatmap", "detector", "suppressed"],
)
def test_a_description_survives_json(spec: AnySpec) -> None:
    assert through_json(spec) == spec


def test_the_tensors_of_an_exported_top_down_student() -> None:
    assert TOP_DOWN.inputs == {"image": (None, 3, 256, 192)}
    assert TOP_DOWN.outputs == {"simcc_x": (None, 21, 384), "simcc_y": (None, 21, 512)}
    deep = replace(TOP_DOWN, depth=DepthSpec(576, 2.17))
    assert deep.outputs["simcc_z"] == (None, 21, 576)
    assert replace(TOP_DOWN, head="heatmap").outputs == {"heatmaps": (None, 21, None, None)}
    assert len(SKELETONS[SKELETON]) == 21
    assert list(replace(TOP_DOWN, answers=("a", "b")).outputs) == ["a", "b"]


def test_the_tensors_of_an_exported_detector() -> None:
    assert DETECTOR.inputs == {"image": (None, 3, 416, 416)}
    assert DETECTOR.outputs == {"anchors": (None, 52 * 52 + 26 * 26 + 13 * 13, None)}
    maps = replace(DETECTOR, layout="rtmdet").outputs
    assert list(maps.values()) == [(None, 52, 52, None), (None, 26, 26, None), (None, 13, 13, None)]
    assert replace(DETECTOR, layout="suppressed").outputs == {
        "dets": (None, None, 5),
        "labels": (None, None),
    }


def refusal(data: object) -> str:
    with pytest.raises(ArtefactError) as caught:
        spec_from_dict(data)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("spec", "entry", "value", "expected"),
    [
        (TOP_DOWN, "family", "dwpose", "'family' is 'dwpose'; allowed is dope, top-down, detector"),
        (TOP_DOWN, "format", 2, "'format' is 2"),
        (TOP_DOWN, "head", "dark", "'simcc' or 'heatmap'"),
        (TOP_DOWN, "skeleton", "coco18", SKELETON),
        (TOP_DOWN, "split", 0, "above 0"),
        (TOP_DOWN, "split", True, "allowed is a number"),
        (TOP_DOWN, "split", float("nan"), "allowed is a number"),
        (TOP_DOWN, "padding", -1, "above 0"),
        (TOP_DOWN, "depth", {"bins": 0, "range": 2.0}, "'depth.bins' is 0"),
        (TOP_DOWN, "depth", {"bins": 576, "range": 0}, "'depth.range' is 0"),
        (TOP_DOWN, "depth", {"bins": 576}, "'depth.range' is missing"),
        (TOP_DOWN, "udp", 1, "type bool"),
        (TOP_DOWN, "answers", "xy", "list of different names"),
        (TOP_DOWN, "answers", ["x", 1], "different names"),
        (TOP_DOWN, "answers", ["x", "x"], "different names"),
        (TOP_DOWN, "answers", ["x", "y", "z"], "2 names, or none"),
        (TOP_DOWN, "depth", [576, 2.0], "'depth.bins' is missing"),
        (TOP_DOWN, "input.height", 0, "'input.height' is 0"),
        (TOP_DOWN, "input.mean", [0, 0], "three numbers"),
        (TOP_DOWN, "input.mean", [300, 0, 0], "0..255"),
        (TOP_DOWN, "input.std", [0.229, 0.224, 0.225], "pixels are 0..255"),
        (TOP_DOWN, "input.color", "gray", "'rgb' or 'bgr'"),
        (TOP_DOWN, "weights.licence", 3, "type str"),
        (DETECTOR, "layout", "detr", "suppressed, rtmdet, yolox"),
        (DETECTOR, "person", -1, "0 or more"),
        (DETECTOR, "person", True, "type int"),
        (DETECTOR, "input.pad", 256, "0..255"),
        (DETECTOR, "input.upscale", 1, "type bool"),
        (DETECTOR, "input.width", 400, "multiples of 32"),
        (DETECTOR, "input.height", 400, "multiples of 32"),
    ],
)
def test_a_wrong_entry_is_named(spec: AnySpec, entry: str, value: object, expected: str) -> None:
    data = json.loads(json.dumps(spec.to_dict()))
    *way, last = entry.split(".")
    inner = data
    for name in way:
        inner = inner[name]
    inner[last] = value
    assert expected in refusal(data)


@pytest.mark.parametrize("spec", [TOP_DOWN, DETECTOR], ids=["top-down", "detector"])
def test_a_missing_entry_is_named(spec: AnySpec) -> None:
    entries = spec.to_dict()
    optional = {"depth", "answers"}
    for entry in entries:
        if entry not in optional:
            assert f"'{entry}' is missing" in refusal({k: v for k, v in entries.items() if k != entry})


@pytest.mark.parametrize("data", [None, [], "top-down", 3, {}])
def test_no_description(data: object) -> None:
    assert "'family' is missing" in refusal(data)


def test_a_depth_belongs_to_a_simcc_head() -> None:
    with pytest.raises(ArtefactError, match="'simcc'"):
        replace(TOP_DOWN, head="heatmap", depth=DepthSpec(576, 2.0))


def test_another_family_is_not_read_as_this_one() -> None:
    for family, kind in FAMILIES.items():
        other: dict[str, Any] = {**TOP_DOWN.to_dict(), "family": "detector"}
        if family != "detector":
            with pytest.raises(ArtefactError):
                kind.from_dict(other)


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [(None, False), ({}, False), ({"pass": False}, False), ({"pass": True}, True)],
)
def test_verified_is_what_was_measured_and_kept_to_its_budget(
    certificate: dict[str, Any] | None, expected: bool
) -> None:
    assert verified(replace(TOP_DOWN, certificate=certificate)) is expected
