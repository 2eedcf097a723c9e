"""From exported and published networks to callables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wholebody.runtime.artefact import is_exported, read_artefact
from wholebody.runtime.errors import ArtefactError, BackendError, CheckpointError, WholebodyError
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.pipelines.dope import DopePose, GroupBy, Selection
from wholebody.runtime.pipelines.top_down import TopDownPose
from wholebody.runtime.published import describe_detector, describe_student
from wholebody.runtime.spec import AnySpec, DetectorSpec, StudentSpec, TopDownSpec, verified

if TYPE_CHECKING:
    from wholebody.runtime.backends.onnxrt import OnnxRuntime

__all__ = ["Pose", "load", "load_detector", "load_dope", "load_top_down"]

Pose = DopePose | TopDownPose


def load(
    student: str | Path,
    *,
    detector: str | Path | None = None,
    backend: str = "auto",
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    detector_options: Mapping[str, Any] | None = None,
    **pipeline: Any,
) -> Pose:
    """Load a student: `pose = load("student.onnx"); people = pose(image_bgr)`.

    student    an ONNX file: exported by wholebody, with its sidecar beside it, or a top-down student as it
               was published by others
    detector   for a top-down student, a person detector as ONNX
    backend    "auto": the fastest that starts here; "onnxruntime:CPUExecutionProvider" or another of ONNX
               Runtime's providers: that one or an error
    threads    CPU threads of a network; None: the physical cores this process may use
    options    what a published student's file does not tell, see `describe_student`
    detector_options   the same for the detector, see `describe_detector` and `PersonDetector`
    pipeline   options of `DopePose` or `TopDownPose`

    Every answer's metadata says which `student`, `precision` and `backend` gave it, whether it was `verified`
    against PyTorch, and `fallback` where "auto" passed a faster backend over. Raises ArtefactError for a file
    that is missing, foreign or changed, BackendError for a backend that is not available, WholebodyError for
    a detector or options that do not belong to the student, ValueError for a number that is not allowed.
    """
    if is_exported(student) and isinstance(read_artefact(student).spec, StudentSpec):
        if detector is not None or options or detector_options:
            raise WholebodyError(
                f"{student} finds people by itself and describes itself: leave out the detector and the "
                "options of published files"
            )
        return load_dope(student, backend=backend, threads=threads, **pipeline)
    return load_top_down(
        student, detector=detector, backend=backend, threads=threads, options=options,
        detector_options=detector_options, **pipeline,
    )  # fmt: skip


def load_dope(
    student: str | Path,
    *,
    backend: str = "auto",
    threads: int | None = None,
    selection: Selection = "ppi",
    group_by: GroupBy = "rpn",
) -> DopePose:
    """Load an exported DOPE student; parameters and errors are those of `load` and `DopePose`."""
    artefact = read_artefact(student)
    spec = _of_kind(artefact.spec, StudentSpec, student)
    runner = _backend(backend, artefact.path, threads)
    metadata = _metadata(spec, runner)
    try:
        return DopePose(runner, spec, selection=selection, group_by=group_by, metadata=metadata)
    except CheckpointError as error:  # the file's options for pose-proposal integration
        raise ArtefactError(f"{artefact.path}: {error}") from None


def load_top_down(
    student: str | Path,
    *,
    detector: str | Path | None = None,
    backend: str = "auto",
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    detector_options: Mapping[str, Any] | None = None,
    max_people: int | None = None,
    full_frame: bool = False,
    flip_test: bool = False,
) -> TopDownPose:
    """Load a top-down student, exported or published; parameters and errors are those of `load` and
    `TopDownPose`."""
    path = Path(student)
    if is_exported(path):
        if options:
            raise WholebodyError(f"{path} describes itself: leave out {', '.join(options)}")
        spec = _of_kind(read_artefact(path).spec, TopDownSpec, path)
    else:
        spec = describe_student(path, **(options or {}))
    finder = None
    if detector is not None:
        finder = load_detector(detector, backend=backend, threads=threads, **(detector_options or {}))
    elif detector_options:
        raise WholebodyError(f"{', '.join(detector_options)} without a detector: name its file")
    runner = _backend(backend, path, threads)
    return TopDownPose(
        runner, spec, finder, max_people=max_people, full_frame=full_frame, flip_test=flip_test,
        metadata=_metadata(spec, runner),
    )  # fmt: skip


def load_detector(
    path: str | Path,
    *,
    backend: str = "auto",
    threads: int | None = None,
    min_score: float = 0.3,
    iou: float = 0.6,
    min_area: float = 100.0,
    **options: Any,
) -> PersonDetector:
    """Load a published person detector; `options` are those of `describe_detector`, the others of
    `PersonDetector`."""
    spec = describe_detector(path, **options)
    runner = _backend(backend, Path(path), threads)
    return PersonDetector(runner, spec, min_score=min_score, iou=iou, min_area=min_area)


def _of_kind(spec: AnySpec, kind: type[Any], path: str | Path) -> Any:
    if not isinstance(spec, kind):
        raise ArtefactError(f"{path} is {spec.name}, of the family {spec.family}: that cannot be used here")
    return spec


def _metadata(spec: StudentSpec | TopDownSpec | DetectorSpec, runner: OnnxRuntime) -> dict[str, Any]:
    metadata = {"student": spec.name, "precision": spec.precision, "verified": verified(spec)}
    return metadata | ({"fallback": runner.fallback} if runner.fallback else {})


def _backend(name: str, path: Path, threads: int | None) -> OnnxRuntime:
    kind, _, provider = name.partition(":")
    if kind not in ("auto", "onnxruntime") or (kind == "auto" and provider):
        raise BackendError(f"unknown backend {name!r}; allowed are auto, onnxruntime, onnxruntime:PROVIDER")
    try:
        from wholebody.runtime.backends.onnxrt import OnnxRuntime
    except ImportError as error:
        raise BackendError(f"onnxruntime cannot be imported ({error}): pip install onnxruntime") from error
    return OnnxRuntime(path, providers=[provider] if provider else None, threads=threads)
