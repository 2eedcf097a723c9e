"""Fixtures shared by all tests."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wholebody.export.students.dope import Dope
    from wholebody.export.students.rtmpose import RtmPose
    from wholebody.runtime.spec import StudentSpec

# The same examples on every run; no deadline, since the first call into a library pays for loading it.
settings.register_profile("wholebody", deadline=None, derandomize=True)
settings.load_profile("wholebody")


# FFmpeg's level is read when a process opens its first video, which may be in a test without `quiet_opencv`.
os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden cases, real pictures and trained networks that lies beside a checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail("golden cases are missing: the folder 'shared' must lie beside the checkout on CI")
        pytest.skip("golden cases and test pictures are not here (folder 'shared' beside the checkout)")
    return folder


@pytest.fixture(scope="session")
def bundled_weights() -> Path:
    """The weights of dope-mini."""
    from wholebody.export.zoo import bundled
    from wholebody.runtime.errors import CheckpointError

    try:
        return bundled("dope-mini")
    except CheckpointError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@dataclass(frozen=True, eq=False)
class GoldenDope:
    """A golden case of the whole-body network: its checkpoint as a file, its picture, its numbers."""

    checkpoint: Path
    image: NDArray[np.uint8]
    numbers: Mapping[str, Any]


@pytest.fixture(scope="session")
def golden_dope(shared: Path) -> Iterator[Callable[[str], GoldenDope]]:
    """`golden_dope("dope_0")`: the case with its checkpoint, made once and deleted with the last test."""
    made: dict[str, GoldenDope] = {}
    with tempfile.TemporaryDirectory() as folder:

        def make(name: str) -> GoldenDope:
            if name not in made:
                made[name] = _make_golden_dope(shared, name, Path(folder) / f"{name}.pth.tgz")
            return made[name]

        yield make


@dataclass(frozen=True, eq=False)
class GoldenRtmPose:
    """A golden case of a top-down network: its checkpoint as a file, its picture, its numbers."""

    checkpoint: Path
    image: NDArray[np.uint8]
    numbers: Mapping[str, Any]


@pytest.fixture(scope="session")
def golden_rtmpose(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], GoldenRtmPose]:
    """`golden_rtmpose("t")`: the case of this size with its checkpoint, made once."""
    folder, made = tmp_path_factory.mktemp("golden"), dict[str, GoldenRtmPose]()

    def make(size: str) -> GoldenRtmPose:
        if size not in made:
            made[size] = _make_golden_rtmpose(shared, size, folder / f"rtmpose-{size}.pth")
        return made[size]

    return make


@pytest.fixture(scope="session")
def tiny_dope() -> Callable[..., Dope]:
    """`tiny_dope(proposals=5, …)`: a random DOPE network, one narrow block a stage, not folded."""
    return _tiny_dope


@pytest.fixture(scope="session")
def tiny_rtmpose() -> Callable[..., RtmPose]:
    """`tiny_rtmpose(joints=133, …)`: a random top-down network of 17 keypoints, narrow, not folded."""
    return _tiny_rtmpose


@pytest.fixture(scope="session")
def published_layout() -> Callable[..., dict[str, Any]]:
    """`published_layout(network, **dope_kwargs)`: a network as the dictionary of a published checkpoint."""
    return _published_layout


@pytest.fixture(scope="session")
def one_body() -> Callable[..., dict[str, NDArray[np.float32]]]:
    """`one_body(spec)`: a student's answers for one body in the first proposal and nobody in the others."""
    return _one_body


@pytest.fixture(scope="session")
def constant_onnx() -> Callable[..., Path]:
    """`constant_onnx(path, spec, answers)`: an ONNX file that answers so to every picture."""
    return _constant_onnx


@pytest.fixture(scope="session")
def constant_student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A verified student and its sidecar, in a folder of their own, that sees one body in every picture."""
    from wholebody.runtime.artefact import write_artefact
    from wholebody.runtime.spec import InputSpec, PartSpec, StudentSpec, WeightsSpec

    spec = StudentSpec(
        name="constant",
        input=InputSpec(96, 128, 96, 128, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        parts={
            "body": PartSpec(13, 4, {"K": 2}),
            "hand": PartSpec(21, 2, {"K": 1}),
            "face": PartSpec(84, 1, {"K": 1}),
        },
        weights=WeightsSpec("made up", "0" * 64, "none"),
    )
    path = tmp_path_factory.mktemp("student") / "constant.onnx"
    _constant_onnx(path, spec, _one_body(spec))
    return write_artefact(path, replace(spec, certificate={"pass": True})).path


def _one_body(spec: StudentSpec, proposals: int = 6) -> dict[str, NDArray[np.float32]]:
    import numpy as np

    rng = np.random.default_rng(0)
    arrays = {"boxes": np.tile(np.array([8, 4, 40, 44], np.float32), (proposals, 1))}
    for name, part in spec.parts.items():
        shape = proposals, part.classes, part.joints
        arrays[f"{name}_scores"] = np.zeros((proposals, part.classes + 1), np.float32)
        arrays[f"{name}_pose2d"] = rng.uniform(10, 40, (*shape, 2)).astype(np.float32)
        arrays[f"{name}_pose3d"] = rng.uniform(-1, 1, (*shape, 3)).astype(np.float32)
    arrays["body_scores"][0, :2] = 0.1, 0.9
    return arrays


def _constant_onnx(path: Path, spec: StudentSpec, answers: Mapping[str, NDArray[np.float32]]) -> Path:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from wholebody.runtime.artefact import onnx_metadata

    inputs = {"image": (1, 3, spec.input.height, spec.input.width), "size": (2,)}
    tensors = [numpy_helper.from_array(array, name) for name, array in answers.items()]
    graph = helper.make_graph(
        [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in tensors],
        "constant",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, a.shape) for name, a in answers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, onnx_metadata(spec))
    onnx.save(model, path)
    return path


def _tiny_dope(*, seed: int = 0, **config: Any) -> Dope:
    import torch

    from wholebody.export.students.dope import Dope, DopeConfig

    small = {
        "width": 4, "blocks": (1, 1, 1, 1), "rpn_width": 8, "classes": {"body": 4, "hand": 4, "face": 3},
        "candidates": 60, "proposals": 20, "min_size": 96, "max_size": 128,
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Dope(DopeConfig(**{**small, **config})).eval()
        for name, tensor in network.state_dict().items():
            if name.endswith(
                ("running_var", "bn1.weight", "bn2.weight", "bn3.weight", "downsample.1.weight")
            ):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith(("running_mean", "anchor_poses", ".bias")):
                tensor.normal_(0, 0.3)
            elif name.startswith(("predictor.", "rpn.")):
                tensor.mul_(4)  # scores that differ, boxes that move
    return network


def _tiny_rtmpose(*, seed: int = 0, **config: Any) -> RtmPose:
    import torch

    from wholebody.export.students.rtmpose import RtmPose, RtmPoseConfig

    small = {
        "deepen": 0.167, "widen": 0.0625, "height": 64, "width": 32, "joints": 17, "kernel": 3, "hidden": 16,
        "key": 8,
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = RtmPose(RtmPoseConfig(**{**small, **config})).eval()
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith(("running_mean", ".bias")):
                tensor.normal_(0, 0.1)
            elif name.endswith(".weight") and tensor.ndim > 1:
                tensor.normal_(0, (3 / tensor[0].numel()) ** 0.5)
            if name.endswith("gau.o.weight"):
                tensor.div_(network.config.joints)
            elif ".cls_" in name:
                tensor.div_(30)  # logits of about 1, which differ from picture to picture
    return network


def _published_layout(network: Dope, **dope_kwargs: Any) -> dict[str, Any]:
    state = {key: tensor for name, tensor in network.state_dict().items() for key in _published_keys(name)}
    return {"half": False, "dope_kwargs": dope_kwargs, "state_dict": state}


def _published_keys(name: str) -> list[str]:
    """The keys under which the published checkpoints hold a tensor of `Dope`; the backbone is there twice."""
    head, _, rest = name.partition(".")
    if head == "backbone":
        return [f"backbone.resnet_backbone.{rest}", f"roi_heads.dope_head.resnet_backbone.{rest}"]
    if head == "rpn":
        return [f"rpn.head.{rest}"]
    if head == "predictor":
        layer, part, leaf = rest.split(".")
        return [f"roi_heads.dope_predictor.{part}_{layer}.{leaf}"]
    return [f"roi_heads.{name}"]


def _make_golden_dope(shared: Path, name: str, path: Path) -> GoldenDope:
    import cv2
    import numpy as np
    import torch

    from wholebody.export.students.dope import Dope, DopeConfig

    recipe = _load_module(shared / "golden" / "recipe.py")
    with np.load(shared / "golden" / "dope" / f"{name}.npz", allow_pickle=False) as file:
        numbers = {key: file[key] for key in file.files}
    with torch.device("meta"):
        shapes = {k: tuple(t.shape) for k, t in Dope(DopeConfig()).state_dict().items()}
    shapes |= {"backbone.fc.weight": (1000, 2048), "backbone.fc.bias": (1000,)}
    state: dict[str, torch.Tensor] = {}
    for ours, shape in shapes.items():
        first, *others = _published_keys(ours)
        given = numbers.get(f"bn/{first}")
        tensor = torch.from_numpy(
            recipe.tensor(first, shape, int(numbers["seed"])) if given is None else given
        )
        state |= dict.fromkeys([first, *others], tensor)
    kwargs = {key: int(numbers[key]) for key in ("min_size", "max_size", "rpn_post_nms_top_n_test")}
    torch.save({"half": False, "dope_kwargs": kwargs, "state_dict": state}, path)
    image = cv2.imread(str(shared / "data" / "images" / str(numbers["image"])))
    assert image is not None
    return GoldenDope(path, np.asarray(image, np.uint8), numbers)


def _make_golden_rtmpose(shared: Path, size: str, path: Path) -> GoldenRtmPose:
    import cv2
    import numpy as np
    import torch

    from wholebody.export.students.rtmpose import RTMPOSE, RtmPose

    recipe = _load_module(shared / "golden" / "recipe.py")
    with np.load(shared / "golden" / "rtmpose" / f"rtmpose_{size}_256x192.npz", allow_pickle=False) as file:
        numbers = {key: file[key] for key in file.files}
    with torch.device("meta"):
        shapes = {k: tuple(t.shape) for k, t in RtmPose(RTMPOSE[f"{size}-256x192"]).state_dict().items()}
    seed = int(numbers["seed"])
    state = {k: numbers.get(f"bn/{k}", recipe.tensor(k, shape, seed)) for k, shape in shapes.items()}
    torch.save({"meta": {}, "state_dict": {k: torch.from_numpy(array) for k, array in state.items()}}, path)
    image = cv2.imread(str(shared / "data" / "images" / str(numbers["image"])))
    assert image is not None
    return GoldenRtmPose(path, np.asarray(image, np.uint8), numbers)


def _load_module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
