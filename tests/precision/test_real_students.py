"""Real students on real photographs: what they lose in INT8 and FP16."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from wholebody.export.precision.calibration import samples
from wholebody.export.precision.drift import PrecisionBudget
from wholebody.export.precision.mixes import Mix, Mixes
from wholebody.export.precision.original import open_original
from wholebody.export.precision.placement import Target
from wholebody.runtime.media import Frame
from wholebody.runtime.people import Floats
from wholebody.runtime.published import describe_detector, describe_student
from wholebody.runtime.spec import AnySpec, DetectorSpec


@pytest.fixture
def photographs(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return sorted((shared / "data" / "images" / "coco_people").glob("*.jpg"))


@pytest.fixture
def boxes(shared: Path) -> Any:
    """The annotated boxes of a photograph's people."""
    data = json.loads((shared / "data" / "images" / "coco_people" / "person_keypoints.json").read_text())
    files = {image["id"]: image["file_name"] for image in data["images"]}
    found = defaultdict[str, list[list[float]]](list)
    for person in data["annotations"]:
        x, y, width, height = person["bbox"]
        if person["num_keypoints"] > 5:
            found[files[person["image_id"]]].append([x, y, x + width, y + height])

    def of(frame: Frame) -> Floats:
        return np.array(found[Path(frame.name).name], np.float32).reshape(-1, 4)

    return of


def mixes_of(path: Path, spec: AnySpec, pictures: list[Path], boxes: Any, target: Target) -> Mixes:
    calibration, held_out = (samples(spec, half, boxes=boxes) for half in (pictures[:3], pictures[4:8]))
    return Mixes(onnx.load(path), spec, calibration, held_out, target=target, method="minmax")


def test_a_heatmap_student(shared: Path, photographs: list[Path], boxes: Any) -> None:
    path = shared / "data" / "models" / "ultralight_simplepose_coco17.onnx"
    spec = describe_student(path, udp=False, color="rgb", norm="imagenet")
    mixes = mixes_of(path, spec, photographs, boxes, "cpu")
    exact = mixes.drift(Mix())
    assert exact.people.matched >= 4
    assert exact.failures(PrecisionBudget(oks=1, px=0)) == []
    names = [layer.name for layer in mixes.layers]
    everything, some = mixes.drift(Mix.of(int8=names)), mixes.drift(Mix.of(int8=names[20:40]))
    assert 0.5 < everything.parts["body"].oks < some.parts["body"].oks < 1


def test_a_detector(shared: Path, photographs: list[Path]) -> None:
    path = shared / "data" / "models" / "rtmdet_nano_mmpose.onnx"
    spec = describe_detector(path, kind="rtmdet", size=(320, 320))
    mixes = mixes_of(path, spec, photographs, None, "tensorrt")
    exact = mixes.drift(Mix())
    assert exact.people.matched >= 4
    assert exact.parts["person"].oks == 1
    half = mixes.drift(Mix.of(fp16=[layer.name for layer in mixes.layers]))
    assert half.parts["person"].oks > 0.98
    assert half.people.matched >= exact.people.matched - 1
    whole = mixes.drift(Mix.of(int8=[layer.name for layer in mixes.layers]))
    assert whole.parts["person"].oks < half.parts["person"].oks


def test_a_sidecar_may_say_that_it_is_a_detector(shared: Path, tmp_path: Path) -> None:
    shutil.copy(shared / "data" / "models" / "rtmdet_nano_mmpose.onnx", tmp_path / "d.onnx")
    (tmp_path / "d.json").write_text('{"kind": "rtmdet", "size": [320, 320]}')
    assert isinstance(open_original(tmp_path / "d.onnx", None, {}).spec, DetectorSpec)
