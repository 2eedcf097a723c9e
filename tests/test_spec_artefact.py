"""Exported top-down students and detectors: held against their description as DOPE students are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from wholebody.runtime.artefact import is_exported, onnx_metadata, read_artefact, write_artefact
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.spec import (
    AnySpec,
    CropInput,
    DepthSpec,
    DetectorInput,
    DetectorSpec,
    TopDownSpec,
    WeightsSpec,
)

WEIGHTS = WeightsSpec("made up", "0" * 64, "none")
SIMCC = TopDownSpec("tiny", "simcc", CropInput(64, 48, (0, 0, 0), (1, 1, 1), "rgb"), "wholebody133", WEIGHTS)
DEPTH = replace(SIMCC, depth=DepthSpec(96, 2.0))
MAPS = replace(SIMCC, head="heatmap", skeleton="coco17", udp=True)
YOLOX = DetectorSpec("finder", "yolox", DetectorInput(64, 96, (0, 0, 0), (1, 1, 1), "bgr"), WEIGHTS)
RTMDET = replace(YOLOX, layout="rtmdet")
SUPPRESSED = replace(YOLOX, layout="suppressed", person=2)
ALL = pytest.mark.parametrize("spec", [SIMCC, DEPTH, MAPS, YOLOX, RTMDET, SUPPRESSED])

Export = Callable[..., Path]


@pytest.fixture
def export(tmp_path: Path) -> Export:
    """`export(spec, other)`: an ONNX file that says it is `spec` and has the tensors of `other`."""

    def make(spec: AnySpec, other: AnySpec | None = None) -> Path:
        tensors = other or spec
        inputs, outputs = (
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, [size or "open" for size in shape])
                for name, shape in shapes.items()
            ]
            for shapes in (tensors.inputs, tensors.outputs)
        )
        model = helper.make_model(helper.make_graph([], "exported", inputs, outputs))
        helper.set_model_props(model, onnx_metadata(spec))
        path = tmp_path / "exported.onnx"
        onnx.save(model, path)
        return path

    return make


@ALL
def test_what_was_written_is_read(export: Export, spec: AnySpec) -> None:
    path = export(spec)
    written = write_artefact(path, spec)
    assert read_artefact(path) == written
    assert written.spec == spec


def test_only_what_wholebody_exported_says_so(export: Export, tmp_path: Path) -> None:
    path = export(SIMCC)
    assert is_exported(path)
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "published.onnx")
    assert not is_exported(tmp_path / "published.onnx")
    with pytest.raises(ArtefactError, match="no such file"):
        is_exported(tmp_path / "nowhere.onnx")


@ALL
def test_a_certificate_is_added_later(export: Export, spec: AnySpec) -> None:
    path = export(spec)
    certified = replace(spec, certificate={"pass": True})
    write_artefact(path, certified)
    assert read_artefact(path).spec == certified


@pytest.mark.parametrize(
    ("spec", "other", "lacks"),
    [
        (DEPTH, SIMCC, "simcc_z (?x133x96)"),
        (SIMCC, MAPS, "simcc_x (?x133x96)"),
        (MAPS, SIMCC, "heatmaps (?x17x?x?)"),
        (SIMCC, replace(SIMCC, skeleton="coco17"), "simcc_x (?x133x96)"),
        (SIMCC, replace(SIMCC, split=3.0), "simcc_x (?x133x96)"),
        (SIMCC, replace(SIMCC, input=replace(SIMCC.input, height=96)), "image (?x3x64x48)"),
        (YOLOX, RTMDET, "anchors (?x126x?)"),
        (RTMDET, SUPPRESSED, "stride_8 (?x8x12x?)"),
        (SUPPRESSED, YOLOX, "dets (?x?x5)"),
    ],
)
def test_a_network_that_is_not_what_it_says(
    export: Export, spec: AnySpec, other: AnySpec, lacks: str
) -> None:
    path = export(spec, other)
    with pytest.raises(ArtefactError) as caught:
        write_artefact(path, spec)
    assert f"lacks {lacks}" in str(caught.value)
    assert not path.with_suffix(".json").exists()


def test_a_sidecar_of_another_description(export: Export) -> None:
    path = export(SIMCC)
    write_artefact(path, SIMCC)
    export(MAPS)
    with pytest.raises(ArtefactError, match="belongs to another file"):
        read_artefact(path)
    with pytest.raises(ArtefactError, match="disagree on"):
        write_artefact(path, replace(MAPS, padding=1.0))
