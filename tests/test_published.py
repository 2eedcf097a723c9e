"""ONNX files of others: what their shapes tell, what an option or a sidecar adds, and what is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from wholebody.runtime.artefact import onnx_metadata
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.onnxfile import read_onnx
from wholebody.runtime.published import describe_detector, describe_student
from wholebody.runtime.spec import CropInput, DepthSpec, DetectorInput, TopDownSpec, WeightsSpec, verified

RGB = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
BGR = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
NOTHING, EVERYTHING = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
Shapes = Mapping[str, tuple[int | str, ...] | None]
Network = Callable[..., Path]


@pytest.fixture
def network(tmp_path: Path) -> Network:
    """`network(inputs, outputs, sidecar=…)`: an ONNX file of these shapes; a string is an open size."""

    def make(
        inputs: Shapes,
        outputs: Shapes,
        sidecar: object = None,
        weights: Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Path:
        tensors = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
        graph = helper.make_graph(
            [],
            "published",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
            initializer=tensors,
        )
        model = helper.make_model(graph)
        helper.set_model_props(model, dict(metadata or {}))
        path = tmp_path / "published.onnx"
        onnx.save(model, path)
        if sidecar is not None:
            path.with_suffix(".json").write_text(json.dumps(sidecar))
        return path

    return make


@pytest.fixture
def simcc(network: Network) -> Network:
    """`simcc(width, height, K=133, names=…)`: a SimCC student of this size, x first."""

    def make(
        width: int,
        height: int,
        keypoints: int | str = 133,
        names: tuple[str, ...] = ("simcc_x", "simcc_y"),
        bins: tuple[int | str, ...] = (),
        **more: Any,
    ) -> Path:
        sizes = bins or (2 * width, 2 * height)
        outputs = {name: (1, keypoints, size) for name, size in zip(names, sizes, strict=True)}
        return network({"input": (1, 3, height, width)}, outputs, **more)

    return make


def refusal(path: Path, describe: Callable[..., object] = describe_student, **options: Any) -> str:
    with pytest.raises(ArtefactError) as caught:
        describe(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path.with_suffix(""))), message
    return message


# --- SimCC students ---


def test_dwpose_is_told_by_its_shapes_alone(simcc: Network) -> None:
    path = simcc(288, 384)
    assert describe_student(path) == TopDownSpec(
        name="published",
        head="simcc",
        input=CropInput(384, 288, *RGB, "rgb"),
        skeleton="wholebody133",
        weights=WeightsSpec("published.onnx", read_onnx(path).sha256, "not stated"),
        answers=("simcc_x", "simcc_y"),
    )


def test_nothing_published_is_verified(simcc: Network) -> None:
    spec = describe_student(simcc(288, 384))
    assert spec.certificate is None
    assert not verified(spec)


@pytest.mark.parametrize(
    ("keypoints", "skeleton"), [(17, "coco17"), (21, "coco_hand21"), (133, "wholebody133")]
)
def test_the_usual_skeleton_of_a_number_of_keypoints(simcc: Network, keypoints: int, skeleton: str) -> None:
    assert describe_student(simcc(192, 256, keypoints)).skeleton == skeleton


def test_another_skeleton_of_as_many_keypoints(simcc: Network) -> None:
    path = simcc(256, 256, 21)
    assert describe_student(path, skeleton="dope_hand21").skeleton == "dope_hand21"


def test_a_skeleton_that_does_not_fit(simcc: Network) -> None:
    path = simcc(192, 256, 17)
    message = refusal(path, skeleton="wholebody133")
    assert (
        "'skeleton' is 'wholebody133', of 133 keypoints; it has 17 keypoints: allowed are coco17" in message
    )
    assert "allowed are" in refusal(path, skeleton="halpe26")


@pytest.mark.parametrize("keypoints", [26, 1, 308])
def test_keypoints_that_no_skeleton_names(simcc: Network, keypoints: int) -> None:
    message = refusal(simcc(192, 256, keypoints))
    assert f"it has {keypoints} keypoints" in message
    assert "coco17 (17)" in message
    assert "wholebody133 (133)" in message


def test_an_open_number_of_keypoints_is_asked_for(simcc: Network) -> None:
    path = simcc(192, 256, "keypoints")
    assert "--skeleton coco17" in refusal(path)
    assert describe_student(path, skeleton="wholebody133").skeleton == "wholebody133"


def test_sizes_decide_which_output_is_x(simcc: Network) -> None:
    swapped = simcc(192, 256, names=("first", "second"), bins=(512, 384))
    assert describe_student(swapped).answers == ("second", "first")
    misnamed = simcc(192, 256, bins=(512, 384))
    assert describe_student(misnamed).answers == ("simcc_y", "simcc_x")


def test_names_decide_where_sizes_cannot(simcc: Network) -> None:
    path = simcc(256, 256, 21, names=("simcc_y", "simcc_x"))
    assert describe_student(path).answers == ("simcc_x", "simcc_y")


def test_a_square_crop_without_names_is_asked_about(simcc: Network) -> None:
    path = simcc(256, 256, 21, names=("410", "411"))
    message = refusal(path)
    assert "410, 411" in message
    assert "--axes xy" in message
    assert describe_student(path, axes="xy").answers == ("410", "411")
    assert describe_student(path, axes="yx").answers == ("411", "410")
    assert "allowed are xy, yx" in refusal(path, axes="xyz")


def test_axes_that_contradict_the_sizes(simcc: Network) -> None:
    assert "'axes' is 'yx'; the sizes of its outputs allow xy" in refusal(simcc(192, 256), axes="yx")
    other = simcc(192, 256, names=("a", "b"), bins=(512, 384))
    assert "allow yx" in refusal(other, axes="xy")


def test_the_split_is_told_by_the_bins(simcc: Network) -> None:
    assert describe_student(simcc(192, 256)).split == 2.0
    assert describe_student(simcc(192, 256, bins=(576, 768))).split == 3.0


def test_bins_that_are_not_in_the_ratio_of_the_sides(simcc: Network) -> None:
    message = refusal(simcc(192, 256, bins=(384, 384)))
    assert "simcc_x (1x133x384), simcc_y (1x133x384) for crops of 256x192" in message
    assert "ratio of width and height" in message


def test_open_sizes_follow_from_the_bins(network: Network) -> None:
    outputs = {"simcc_x": ("batch", 133, 576), "simcc_y": ("batch", 133, 768)}
    path = network({"input": ("batch", 3, "height", "width")}, outputs)
    spec = describe_student(path)
    assert (spec.input.height, spec.input.width, spec.split) == (384, 288, 2.0)
    assert describe_student(path, size=(256, 192)).split == 3.0


def test_open_bins_are_taken_by_name(network: Network) -> None:
    outputs = {"simcc_y": ("batch", 133, "y"), "simcc_x": ("batch", 133, "x")}
    spec = describe_student(network({"input": ("batch", 3, 256, 192)}, outputs))
    assert spec.answers == ("simcc_x", "simcc_y")
    assert spec.split == 2.0


def test_everything_open_is_asked_for_at_once(network: Network) -> None:
    path = network({"input": ("b", 3, "h", "w")}, {"a": None, "b": None})
    message = refusal(path)
    for flag in ("--axes xy", "--size 256x192", "--skeleton coco17"):
        assert flag in message
    asked = json.loads(message[message.index("{") :])
    path.with_suffix(".json").write_text(json.dumps(asked))
    assert describe_student(path).skeleton == "coco17"  # the proposal can be copied as it is


def test_a_size_that_the_file_contradicts(simcc: Network) -> None:
    assert "its input is (256, 192)" in refusal(simcc(192, 256), size=(384, 288))


RTMW3D = ("simcc_x", "simcc_y", "simcc_z")


@pytest.mark.parametrize("names", [RTMW3D, ("output", "1554", "1556")])
def test_rtmw3d_has_a_third_axis(simcc: Network, names: tuple[str, ...]) -> None:
    spec = describe_student(simcc(288, 384, names=names, bins=(576, 768, 576)))
    assert spec.answers == names
    assert spec.depth == DepthSpec(576, 2.1744869)
    assert spec.skeleton == "wholebody133"


def test_the_third_axis_of_others_is_asked_about(simcc: Network) -> None:
    path = simcc(192, 256, 17, names=RTMW3D, bins=(384, 512, 384))
    assert "--depth-range 2.1744869" in refusal(path)
    assert describe_student(path, depth_range=1.5).depth == DepthSpec(384, 1.5)
    assert "allowed is a number" in refusal(path, depth_range="far")
    assert "'depth.range' is 0" in refusal(path, depth_range=0)
    rtmw3d = simcc(288, 384, names=RTMW3D, bins=(576, 768, 576))
    assert "'depth.range' is 0" in refusal(rtmw3d, depth_range=0)


def test_the_axes_of_three_outputs_can_be_said(simcc: Network) -> None:
    path = simcc(288, 384, names=("a", "b", "c"), bins=(576, 576, 768))
    assert describe_student(path).answers == ("a", "c", "b")
    assert describe_student(path, axes="zxy").answers == ("b", "c", "a")
    assert describe_student(simcc(288, 384, names=("a", "b", "c"), bins=(600, 576, 768))).answers[2] == "a"
    square = simcc(256, 256, names=("a", "b", "c"), bins=(512, 512, 512))
    assert "--axes xyz" in refusal(square)
    assert describe_student(square, axes="yxz").answers == ("b", "a", "c")


def test_colours_and_normalisation_can_be_said(simcc: Network) -> None:
    path = simcc(192, 256)
    assert describe_student(path, color="bgr").input == CropInput(256, 192, *BGR, "bgr")
    assert describe_student(path, norm="unit").input.std == (255.0, 255.0, 255.0)
    assert describe_student(path, norm="raw").input.std == EVERYTHING
    own = describe_student(path, mean=(1, 2, 3), std=(4, 5, 6), color="bgr").input
    assert own == CropInput(256, 192, (1, 2, 3), (4, 5, 6), "bgr")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"color": "gray"}, "'color' is 'gray'; allowed are rgb, bgr"),
        ({"norm": "coco"}, "allowed are imagenet, unit, raw"),
        ({"mean": (1, 2, 3)}, "'std' is None"),
        ({"std": (1, 2)}, "three numbers"),
        ({"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}, "pixels are 0..255"),
        ({"size": (256,)}, "a height and a width"),
        ({"size": 256}, "a height and a width"),
        ({"skeleton": 17}, "type str"),
    ],
)
def test_options_that_are_not_allowed(simcc: Network, options: dict[str, Any], expected: str) -> None:
    assert expected in refusal(simcc(192, 256), **options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"udp": True}, "'udp' tells nothing about such a file"),
        ({"depth_range": 2.0}, "'depth_range' tells nothing"),
        ({"norm": "raw", "mean": (1, 2, 3), "std": (1, 1, 1)}, "'norm' and 'mean' both"),
    ],
)
def test_options_said_in_vain(simcc: Network, options: dict[str, Any], expected: str) -> None:
    assert expected in refusal(simcc(192, 256), **options)
    assert expected in refusal(simcc(192, 256, sidecar=options))


# --- heatmap students ---

MAPS = {"heatmaps": (1, 17, 64, 48)}
CROP = {"data": ("batch", 3, 256, 192)}


def test_a_heatmap_student_needs_its_normalisation(network: Network) -> None:
    path = network(CROP, MAPS)
    message = refusal(path)
    assert "--color rgb --norm imagenet --no-udp" in message
    assert '{"color": "rgb", "norm": "imagenet", "udp": false}' in message
    assert "published.json" in message
    assert "skeleton" not in message  # 17 keypoints are COCO's
    spec = describe_student(path, color="rgb", norm="imagenet", udp=True)
    assert (spec.head, spec.udp, spec.answers) == ("heatmap", True, ("heatmaps",))
    assert spec.input == CropInput(256, 192, *RGB, "rgb")
    assert spec.depth is None


def test_only_what_is_missing_is_asked_for(network: Network) -> None:
    message = refusal(network(CROP, MAPS), norm="imagenet", udp=False)
    assert "--color rgb, or" in message


def test_heatmaps_have_no_axes(network: Network) -> None:
    plain = {"color": "rgb", "norm": "imagenet", "udp": False}
    assert "'axes' tells nothing" in refusal(network(CROP, MAPS), axes="xy", **plain)


def test_maps_of_another_aspect(network: Network) -> None:
    path = network(CROP, {"heatmaps": (1, 17, 64, 64)})
    assert "its maps are 64x64 for crops of 256x192" in refusal(path)


def test_a_heatmap_student_of_open_size(network: Network) -> None:
    path = network({"data": ("b", 3, "h", "w")}, {"heatmaps": ("b", 17, "h4", "w4")})
    said = {"color": "rgb", "norm": "imagenet", "udp": False}
    assert "--size 256x192" in refusal(path, **said)
    assert describe_student(path, **said, size=(384, 288)).input.height == 384


# --- sidecars ---


def test_a_sidecar_needs_only_what_is_missing(network: Network) -> None:
    path = network(
        CROP,
        MAPS,
        {"color": "bgr", "mean": [1, 2, 3], "std": [4.5, 5, 6], "udp": True, "licence": "Apache-2.0"},
    )
    spec = describe_student(path)
    assert spec.input == CropInput(256, 192, (1, 2, 3), (4.5, 5, 6), "bgr")
    assert spec.udp
    assert spec.weights.licence == "Apache-2.0"
    assert not verified(spec)


def test_an_option_is_stronger_than_the_sidecar(simcc: Network) -> None:
    path = simcc(192, 256, sidecar={"color": "bgr", "size": [256, 192]})
    assert describe_student(path).input.color == "bgr"
    assert describe_student(path, color="rgb").input.color == "rgb"
    own = simcc(192, 256, sidecar={"mean": [1, 2, 3], "std": [4, 5, 6]})
    assert describe_student(own, norm="raw").input.mean == NOTHING
    named = simcc(192, 256, sidecar={"norm": "raw"})
    assert describe_student(named, mean=(1, 2, 3), std=(4, 5, 6)).input.mean == (1, 2, 3)


@pytest.mark.parametrize("sidecar", [{"colour": "rgb"}, {"input": {}}, ["rgb"], 3])
def test_a_sidecar_that_says_something_else(simcc: Network, sidecar: object) -> None:
    assert "allowed" in refusal(simcc(192, 256, sidecar=sidecar))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_sidecar_that_is_no_json(simcc: Network, content: bytes) -> None:
    path = simcc(192, 256)
    path.with_suffix(".json").write_bytes(content)
    assert "published.json is no JSON object: allowed is one with any of axes" in refusal(path)


# --- files that are something else ---


@pytest.mark.parametrize(
    ("inputs", "outputs", "expected"),
    [
        ({"input": (1, 256, 192, 3)}, MAPS, "its inputs are input (1x256x192x3)"),
        ({"input": (1, 3, 256, 192), "size": (2,)}, MAPS, "its inputs are"),
        ({}, MAPS, "its inputs are none"),
        (CROP, {}, "its outputs are none"),
        (CROP, {"logits": (1, 1000)}, "logits (1x1000)"),
        (CROP, {"a": (1, 17, 384), "b": (1, 17)}, "two or three of ?xKxBINS"),
        (CROP, {"a": (1, 17, 384), "b": (1, 26, 512)}, "one number of keypoints"),
    ],
)
def test_a_network_that_fits_no_head(
    network: Network, inputs: Shapes, outputs: Shapes, expected: str
) -> None:
    assert expected in refusal(network(inputs, outputs), color="rgb", norm="raw", udp=False)


def test_an_exported_student_is_not_taken_for_a_published_one(simcc: Network) -> None:
    spec = describe_student(simcc(192, 256))
    path = simcc(192, 256, metadata=onnx_metadata(spec))
    assert "was exported by wholebody" in refusal(path)
    assert "was exported by wholebody" in refusal(path, describe_detector)


def test_files_that_are_not_there_or_no_onnx(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "nowhere.onnx")
    (tmp_path / "text.onnx").write_text("not a network")
    assert "is not an ONNX file" in refusal(tmp_path / "text.onnx", describe_detector)


def test_weights_that_older_files_list_are_no_inputs(network: Network) -> None:
    weights = {"gamma": np.ones(4, np.float16), "beta": np.ones((8, 8), np.float16)}
    path = network({**CROP, "gamma": (4,), "beta": (8, 8)}, MAPS, weights=weights)
    spec = describe_student(path, color="rgb", norm="imagenet", udp=False)
    assert spec.precision == "fp16"


@pytest.mark.parametrize(
    ("dtypes", "precision"),
    [((), "fp32"), (("float32", "float32"), "fp32"), (("int8", "float32"), "int8"), (("int64",), "fp32")],
)
def test_the_precision_is_that_of_most_weights(
    network: Network, dtypes: tuple[str, ...], precision: str
) -> None:
    weights = {f"w{i}": np.zeros(1000 // (i + 1) ** 3, dtype) for i, dtype in enumerate(dtypes)}
    assert read_onnx(network(CROP, MAPS, weights=weights)).precision == precision


# --- detectors ---

PICTURE = {"images": (1, 3, 416, 416)}
SUPPRESSED = {"dets": (1, "n", 5), "labels": (1, "n")}
GRIDS = {"c": (1, 13, 13, 5), "a": (1, 52, 52, 5), "b": (1, 26, 26, 5)}


def test_yolox_is_told_by_its_shapes(network: Network) -> None:
    spec = describe_detector(network(PICTURE, {"output": (1, 3549, 85)}))
    assert (spec.layout, spec.person) == ("yolox", 0)
    assert spec.input == DetectorInput(416, 416, NOTHING, EVERYTHING, "bgr", pad=114, upscale=True)
    assert spec.certificate is None
    assert not verified(spec)


def test_rtmdet_is_told_by_its_shapes_in_any_order(network: Network) -> None:
    spec = describe_detector(network(PICTURE, GRIDS))
    assert spec.layout == "rtmdet"
    assert spec.input == DetectorInput(416, 416, *BGR, "bgr")


@pytest.mark.parametrize(
    "outputs", [SUPPRESSED, {"dets": (1, 100, 5)}, {"l": ("b", "n"), "d": ("b", "n", "c")}]
)
def test_suppression_hides_what_a_detector_is(network: Network, outputs: Shapes) -> None:
    path = network(PICTURE, outputs)
    assert "--detector-kind rtmdet" in refusal(path, describe_detector)
    rtmdet, yolox = (describe_detector(path, kind=kind) for kind in ("rtmdet", "yolox"))
    assert rtmdet.layout == yolox.layout == "suppressed"
    assert (rtmdet.input.mean, rtmdet.input.std, rtmdet.input.color) == (*BGR, "bgr")
    assert (yolox.input.mean, yolox.input.std, yolox.input.color) == (NOTHING, EVERYTHING, "bgr")


def test_a_detector_that_was_trained_in_another_way(network: Network) -> None:
    path = network(PICTURE, SUPPRESSED)
    spec = describe_detector(path, mean=NOTHING, std=(255, 255, 255), color="rgb")
    assert (spec.input.std, spec.input.color) == ((255, 255, 255), "rgb")
    assert describe_detector(path, kind="rtmdet", color="rgb").input.mean == RGB[0]


def test_a_detector_of_open_size(network: Network) -> None:
    path = network({"input": ("b", 3, "h", "w")}, SUPPRESSED)
    message = refusal(path, describe_detector)
    assert "--detector-size 640x640 --detector-kind rtmdet" in message
    spec = describe_detector(path, size=(320, 320), kind="rtmdet")
    assert (spec.input.height, spec.input.width) == (320, 320)
    beside = network({"input": ("b", 3, "h", "w")}, SUPPRESSED, {"size": [320, 256], "kind": "yolox"})
    assert describe_detector(beside).input.width == 256
    assert "'size' is (321, 317); allowed are multiples of 32" in refusal(
        path, describe_detector, size=(321, 317), kind="yolox"
    )


@pytest.mark.parametrize(
    "outputs", [{"output": (1, 3549, 7)}, {name: (*shape[:3], 6) for name, shape in GRIDS.items()}]
)
def test_the_class_of_people_is_asked_for(network: Network, outputs: Shapes) -> None:
    path = network(PICTURE, outputs)
    message = refusal(path, describe_detector)
    assert "which of its 2 classes is a person" in message
    assert "--detector-person 0" in message
    assert describe_detector(path, person=1).person == 1
    assert "it has 2 classes" in refusal(path, describe_detector, person=2)
    assert "it has 2 classes" in refusal(path, describe_detector, person=-1)
    of_people = network(PICTURE, {"output": (1, 3549, 6)})
    assert "'person' is 1; its only class is 0" in refusal(of_people, describe_detector, person=1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"kind": "rtmdet"}, "its outputs are those of yolox"),
        ({"kind": "detr"}, "allowed are rtmdet, yolox"),
        ({"size": (320, 320)}, "which cannot be changed"),
        ({"person": True}, "type int"),
        ({"mean": NOTHING}, "'std' is None"),
    ],
)
def test_options_that_contradict_a_detector(network: Network, options: dict[str, Any], expected: str) -> None:
    path = network(PICTURE, {"output": (1, 3549, 85)})
    assert expected in refusal(path, describe_detector, **options)


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        (PICTURE, {}),
        (PICTURE, MAPS),
        (PICTURE, {"output0": (1, 84, 8400)}),
        (PICTURE, {"output": (1, 10647, 85)}),
        (PICTURE, {"dets": (1, "n", 4), "labels": (1, "n")}),
        (PICTURE, {"boxes": (1, "n", 4), "scores": (1, 80, "n")}),
        (PICTURE, {**GRIDS, "a": (1, 40, 40, 5)}),
        (PICTURE, {**GRIDS, "a": (1, 52, 52, 6)}),
        (PICTURE, {**GRIDS, "a": (1, 26, 26, 5)}),
        ({"images": (4, 3, 416, 416)}, SUPPRESSED),
        ({"images": (1, 416, 416, 3)}, SUPPRESSED),
        ({"images": (1, 3, 416, 416), "size": (1, 2)}, SUPPRESSED),
    ],
)
def test_a_network_that_is_no_detector(network: Network, inputs: Shapes, outputs: Shapes) -> None:
    message = refusal(network(inputs, outputs), describe_detector, kind="yolox")
    assert "allowed" in message
    assert "its inputs are" in message or "its outputs are" in message


def test_real_files_are_what_their_authors_say(shared: Path) -> None:
    models = shared / "data" / "models"
    assert describe_detector(models / "rtmdet_nano_raw_heads.onnx").layout == "rtmdet"
    assert describe_detector(models / "yolox_nano_coco_raw.onnx").layout == "yolox"
    assert describe_detector(models / "yolox_nano_humanart.onnx", kind="yolox").layout == "suppressed"
    rtmdet = describe_detector(models / "rtmdet_nano_mmpose.onnx", kind="rtmdet", size=(320, 320))
    assert rtmdet.layout == "suppressed"
    student = models / "ultralight_simplepose_coco17.onnx"
    spec = describe_student(student, color="rgb", norm="imagenet", udp=False)
    assert (spec.head, spec.skeleton, spec.input.height) == ("heatmap", "coco17", 256)
    for path in models.glob("*.onnx"):
        describe = describe_detector if path == student else describe_student
        assert "its outputs are" in refusal(path, describe)
