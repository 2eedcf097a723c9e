"""From exported and published networks to callables."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from wholebody.runtime.artefact import is_exported, read_artefact
from wholebody.runtime.backends.backend import is_on_gpu
from wholebody.runtime.backends.choose import Rebuild, choose_backend
from wholebody.runtime.errors import ArtefactError, BackendError, CheckpointError, WholebodyError
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.pipelines.detector_gpu import GpuPersonDetector
from wholebody.runtime.pipelines.dope import DopePose, GroupBy, Selection
from wholebody.runtime.pipelines.dope_gpu import GpuDopePose
from wholebody.runtime.pipelines.top_down import TopDownPose
from wholebody.runtime.pipelines.top_down_gpu import GpuTopDownPose
from wholebody.runtime.plan import is_engine, read_sidecar
from wholebody.runtime.published import describe_detector, describe_student
from wholebody.runtime.spec import AnySpec, DetectorSpec, StudentSpec, TopDownSpec, spec_from_dict, verified

if TYPE_CHECKING:
    from wholebody.runtime.backends.onnxrt import OnnxRuntime
    from wholebody.runtime.backends.trt import TensorRT

    Runner = OnnxRuntime | TensorRT

__all__ = ["Pose", "load", "load_detector", "load_dope", "load_top_down"]

log = logging.getLogger(__name__)

Pose = DopePose | TopDownPose
TOP_DOWN_ALONE = frozenset({"flip_test", "full_frame", "max_people"})
FAMILIES = {StudentSpec: "a DOPE student", TopDownSpec: "a top-down student", DetectorSpec: "a detector"}
P = TypeVar("P", DopePose, TopDownPose)


def load(
    student: str | Path,
    *,
    detector: str | Path | None = None,
    backend: str = "auto",
    threads: int | None = None,
    rebuild: Rebuild | None = None,
    options: Mapping[str, Any] | None = None,
    detector_options: Mapping[str, Any] | None = None,
    **pipeline: Any,
) -> Pose:
    """Load a student: `pose = load("student.onnx"); people = pose(image_bgr)`.

    student    an ONNX file: exported by wholebody, with its sidecar beside it, or a top-down student as it
               was published by others; or an engine of `wholebody build`, with its sidecar
    detector   for a top-down student, a person detector as ONNX or engine
    backend    "auto": the fastest that starts here, an engine if one lies beside the ONNX file; "tensorrt" or
               "tensorrt:1" (GPU number 1), "onnxruntime", "onnxruntime:CPUExecutionProvider" or another of
               ONNX Runtime's providers: that one or an error
    threads    CPU threads of ONNX Runtime; None: the physical cores this process may use
    rebuild    called with the path of an engine that is refused here, and the number of the GPU, to build it
               again; None: it is an error, or with "auto" passed over
    options    what a published student's file does not tell, see `describe_student`
    detector_options   the same for the detector, see `describe_detector` and `PersonDetector`
    pipeline   options of `DopePose` or `TopDownPose`

    Every answer's metadata says which `student`, `precision` and `backend` gave it, whether it was `verified`
    against PyTorch, and `fallback` where a faster way was passed over. With TensorRT all of a student's work
    is done on the GPU. Raises ArtefactError for a file that is missing, foreign or changed, BackendError for
    a backend that is not available, WholebodyError for a detector or options that do not belong to the
    student, ValueError for a number that is not allowed.
    """
    if isinstance(_described(Path(student)), StudentSpec):
        if detector is not None or options or detector_options:
            raise WholebodyError(
                f"{student} finds people by itself and describes itself: leave out the detector and the "
                "options of published files"
            )
        if vain := pipeline.keys() & TOP_DOWN_ALONE:
            raise WholebodyError(
                f"{student} finds people by itself, in whole pictures: leave out {', '.join(sorted(vain))}"
            )
        return load_dope(student, backend=backend, threads=threads, rebuild=rebuild, **pipeline)
    return load_top_down(
        student, detector=detector, backend=backend, threads=threads, rebuild=rebuild, options=options,
        detector_options=detector_options, **pipeline,
    )  # fmt: skip


def load_dope(
    student: str | Path,
    *,
    backend: str = "auto",
    threads: int | None = None,
    rebuild: Rebuild | None = None,
    selection: Selection = "ppi",
    group_by: GroupBy = "rpn",
) -> DopePose:
    """Load an exported DOPE student; parameters and errors are those of `load` and `DopePose`."""
    path = Path(student)
    spec: StudentSpec = _of_kind(_described(path) or read_artefact(path).spec, StudentSpec, path)
    runner = choose_backend(backend, path, threads=threads, rebuild=rebuild)
    try:
        return _pipeline(GpuDopePose, DopePose, runner, spec, selection=selection, group_by=group_by)
    except CheckpointError as error:  # the file's options for pose-proposal integration
        raise ArtefactError(f"{path}: {error}") from None


def load_top_down(
    student: str | Path,
    *,
    detector: str | Path | None = None,
    backend: str = "auto",
    threads: int | None = None,
    rebuild: Rebuild | None = None,
    options: Mapping[str, Any] | None = None,
    detector_options: Mapping[str, Any] | None = None,
    max_people: int | None = None,
    full_frame: bool = False,
    flip_test: bool = False,
) -> TopDownPose:
    """Load a top-down student, exported or published; parameters and errors are those of `load` and
    `TopDownPose`."""
    path = Path(student)
    described = _described(path)
    if described is not None and options:
        raise WholebodyError(f"{path} describes itself: leave out {', '.join(options)}")
    spec: TopDownSpec = _of_kind(
        described or describe_student(_onnx_of(path), **(options or {})), TopDownSpec, path
    )
    find = None
    if detector is not None:
        find = load_detector(
            detector, backend=backend, threads=threads, rebuild=rebuild, **(detector_options or {})
        )
    elif detector_options:
        raise WholebodyError(f"{', '.join(detector_options)} without a detector: name its file")
    runner = choose_backend(backend, path, threads=threads, rebuild=rebuild)
    in_numpy = partial(TopDownPose, buckets=getattr(runner, "buckets", None))
    return _pipeline(
        GpuTopDownPose, in_numpy, runner, spec, detector=find, max_people=max_people, full_frame=full_frame,
        flip_test=flip_test,
    )  # fmt: skip


def load_detector(
    path: str | Path,
    *,
    backend: str = "auto",
    threads: int | None = None,
    rebuild: Rebuild | None = None,
    min_score: float = 0.3,
    iou: float = 0.6,
    min_area: float = 100.0,
    **options: Any,
) -> PersonDetector:
    """Load a person detector, published or quantized; `options` are those of `describe_detector`, the others
    of `PersonDetector`."""
    path = Path(path)
    described = _described(path)
    if described is None:
        spec = describe_detector(_onnx_of(path), **options)
    elif options:
        raise WholebodyError(f"{path} describes itself: leave out {', '.join(options)}")
    else:
        spec = _of_kind(described, DetectorSpec, path)
    runner = choose_backend(backend, path, threads=threads, rebuild=rebuild)
    thresholds = {"min_score": min_score, "iou": iou, "min_area": min_area}
    if is_on_gpu(runner):
        try:
            return GpuPersonDetector(runner, spec, **thresholds)
        except BackendError as error:
            log.warning("%s; so only the detector's network runs on the GPU", error)
    return PersonDetector(runner, spec, **thresholds)


def _pipeline(
    on_gpu: Callable[..., P], in_numpy: Callable[..., P], runner: Runner, spec: AnySpec, **options: Any
) -> P:
    """A pipeline on the GPU, where the network runs on one and kernels can be compiled; else in NumPy."""
    metadata = {"student": spec.name, "precision": spec.precision, "verified": verified(spec)}
    fallback = runner.fallback
    if is_on_gpu(runner):
        try:
            return on_gpu(runner, spec, **options, metadata=metadata)
        except BackendError as error:
            fallback = f"{error}; so only the network runs on the GPU"
            log.warning(fallback)
    return in_numpy(runner, spec, **options, metadata=metadata | ({"fallback": fallback} if fallback else {}))


def _described(student: Path) -> AnySpec | None:
    """What a student's sidecar, or an engine's, says it is; None for a network that others published."""
    if not is_engine(student):
        return read_artefact(student).spec if is_exported(student) else None
    description = read_sidecar(student).student
    try:
        return None if description is None else spec_from_dict(description)
    except ArtefactError as error:
        raise ArtefactError(f"{student}: {error}") from None


def _onnx_of(path: Path) -> Path:
    """A published network itself, or what an engine was built from: nothing else tells its outputs."""
    return path.with_name(read_sidecar(path).onnx) if is_engine(path) else path


def _of_kind(spec: AnySpec, kind: type[Any], path: str | Path) -> Any:
    if not isinstance(spec, kind):
        raise ArtefactError(f"{path} is {FAMILIES[type(spec)]}, {spec.name}; needed here is {FAMILIES[kind]}")
    return spec
