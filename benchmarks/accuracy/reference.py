"""What a student is compared with: its checkpoint in PyTorch, or the FP32 network it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wholebody.benchmarks.accuracy.asking import Pose
from wholebody.benchmarks.latency.contenders import sha256_of
from wholebody.runtime.backends.backend import Backend
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.loading import load_dope, load_top_down
from wholebody.runtime.onnxfile import read_onnx
from wholebody.runtime.pipelines.dope import DopePose
from wholebody.runtime.pipelines.top_down import TopDownPose
from wholebody.runtime.plan import is_engine
from wholebody.runtime.spec import StudentSpec, TopDownSpec

if TYPE_CHECKING:
    from wholebody.export.dope_checkpoint import DopeCheckpoint
    from wholebody.export.openmmlab import RtmPoseCheckpoint

__all__ = ["Reference", "find_reference", "open_reference"]

CPU = "onnxruntime:CPUExecutionProvider"


@dataclass(frozen=True, eq=False)
class Reference:
    """A pipeline like the student's, its file's name and SHA-256, and its backend's name."""

    pose: Pose
    file: str
    sha256: str
    backend: str


def find_reference(student: Path, pose: Pose) -> Path | None:
    """The checkpoint of a bundled student, or what the sidecar names, where it lies beside; or None."""
    from wholebody.export.zoo import bundled_source

    weights = pose.spec.weights
    if find_spec("torch") is not None and (source := bundled_source(weights.sha256)) is not None:
        return source
    measured = (pose.spec.certificate or {}).get("reference")
    named = [(weights.source, weights.sha256)]
    if isinstance(measured, Mapping):
        named.insert(0, (str(measured.get("source")), str(measured.get("sha256"))))
    beside = [(student.with_name(Path(name).name), sha256) for name, sha256 in named]
    return next(
        (
            path
            for path, sha256 in beside
            if path.is_file() and path.resolve() != student.resolve() and sha256_of(path) == sha256
        ),
        None,
    )


def open_reference(
    path: Path,
    student: Path,
    pose: Pose,
    *,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Reference:
    """A pipeline that asks this network as `pose` asks the student: the same detector, crops and options.

    path     a checkpoint, or an FP32 student as ONNX, exported or published
    threads  of ONNX Runtime; PyTorch takes those that the environment gives it
    options  what a published student's file does not tell, as for `load`

    Raises ArtefactError for a network of other keypoints, of reduced precision, or that the student did not
    come from, CheckpointError.
    """
    if path.suffix == ".onnx":
        return _onnx(path, pose, threads, options)
    if is_engine(path):
        raise ArtefactError(f"{path} is an engine: give the checkpoint or the FP32 ONNX file as --reference")
    return _checkpoint(path, student, pose)


def _onnx(path: Path, pose: Pose, threads: int | None, options: Mapping[str, Any] | None) -> Reference:
    other: Pose
    if isinstance(pose, DopePose):
        other = load_dope(path, backend=CPU, threads=threads, selection=pose.selection)
    else:
        told = None if _describes_itself(path) else options
        loaded = load_top_down(path, backend=CPU, threads=threads, options=told)
        if loaded.skeleton is not pose.skeleton:
            raise ArtefactError(
                f"the keypoints of {path} are {loaded.skeleton.name}, the student's {pose.skeleton.name}: "
                "give a --reference of the same"
            )
        other = _like(pose, loaded.student, loaded.spec)
    if other.spec.precision != "fp32":
        raise ArtefactError(
            f"{path} is in {other.spec.precision} itself: give the FP32 student as --reference"
        )
    return Reference(other, path.name, read_onnx(path).sha256, _backend(other))


def _describes_itself(path: Path) -> bool:
    from wholebody.runtime.artefact import is_exported

    return is_exported(path)


def _checkpoint(path: Path, student: Path, pose: Pose) -> Reference:
    from wholebody.export.checkpoints import load_checkpoint
    from wholebody.export.dope_checkpoint import DopeCheckpoint
    from wholebody.export.openmmlab import RtmPoseCheckpoint

    other: Pose
    checkpoint: DopeCheckpoint | RtmPoseCheckpoint
    if isinstance(pose, DopePose):
        checkpoint = load_checkpoint(path, DopeCheckpoint)
        _require_source(checkpoint, student, pose.spec)
        other = _dope(checkpoint, student, pose)
    else:
        checkpoint = load_checkpoint(path, RtmPoseCheckpoint)
        _require_source(checkpoint, student, pose.spec)
        other = _crops(checkpoint, path, pose)
    return Reference(other, path.name, checkpoint.sha256, _backend(other))


def _require_source(
    checkpoint: DopeCheckpoint | RtmPoseCheckpoint, student: Path, spec: StudentSpec | TopDownSpec
) -> None:
    """Whether an exported student came from this checkpoint; a published file does not tell."""
    if spec.versions and spec.weights.sha256 != checkpoint.sha256:
        raise ArtefactError(
            f"{student} was exported from {spec.weights.source} (SHA-256 {spec.weights.sha256[:12]}…), not "
            f"from {checkpoint.source} ({checkpoint.sha256[:12]}…): give that one as --reference"
        )


def _dope(checkpoint: DopeCheckpoint, student: Path, pose: DopePose) -> DopePose:
    from wholebody.export.reference import PyTorch

    size = pose.spec.input.height, pose.spec.input.width
    shape = None if is_engine(student) else read_onnx(student).outputs["boxes"][0]
    backend = PyTorch(checkpoint, size, shape or checkpoint.config.proposals)
    return DopePose(backend, pose.spec, selection=pose.selection)


def _crops(checkpoint: RtmPoseCheckpoint, path: Path, pose: TopDownPose) -> TopDownPose:
    from wholebody.export.reference import PyTorchCrops

    spec, config = pose.spec, checkpoint.config
    ours = spec.head, spec.input.height, spec.input.width, len(pose.skeleton), spec.split, spec.depth
    if ours != ("simcc", config.height, config.width, config.joints, config.split, None):
        raise ArtefactError(
            f"{path} is an RTMPose of {config.joints} keypoints in {config.height}x{config.width}, the "
            f"student ({spec.name}) is another network: give what it was made of as --reference"
        )
    return _like(pose, PyTorchCrops(checkpoint), replace(spec, answers=()))


def _like(pose: TopDownPose, backend: Backend, spec: TopDownSpec) -> TopDownPose:
    return TopDownPose(
        backend,
        spec,
        pose.detector,
        max_people=pose.max_people,
        flip_test=pose.flip_test,
        min_keypoint_score=pose.min_keypoint_score,
        nms_threshold=pose.nms_threshold,
    )


def _backend(pose: Pose) -> str:
    return pose.backend.name if isinstance(pose, DopePose) else pose.student.name
