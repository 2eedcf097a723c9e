"""A DOPE student from picture to people on the GPU: only who was found is copied back."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from wholebody.runtime.backends.backend import GpuBackend
from wholebody.runtime.cuda import Cuda
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.geometry import Letterbox, letterbox
from wholebody.runtime.gpu import DeviceArray
from wholebody.runtime.kernels.detections_gpu import DetectionRows
from wholebody.runtime.kernels.pixels import source_size
from wholebody.runtime.kernels.pose_nms_gpu import GpuPoseNms
from wholebody.runtime.kernels.ppi import PpiOptions
from wholebody.runtime.kernels.ppi_gpu import GpuPpi
from wholebody.runtime.kernels.preprocess_gpu import GpuPreprocessor
from wholebody.runtime.kernels.proposals import PARTS, Detections, Part
from wholebody.runtime.people import Floats, People
from wholebody.runtime.pipelines.assemble import assemble
from wholebody.runtime.pipelines.checks import check_answers
from wholebody.runtime.pipelines.dope import DopePose, GroupBy, Selection
from wholebody.runtime.pipelines.on_gpu import OnGpu, Replay, Stages, Upload, as_picture, check_types
from wholebody.runtime.spec import StudentSpec

__all__ = ["GpuDopePose"]

Answers = Mapping[str, DeviceArray]

_letterbox = lru_cache(maxsize=64)(letterbox)


class GpuDopePose(OnGpu, DopePose):
    """`people = pose(image)`: a DopePose whose picture, proposals and candidates never leave the GPU.

    engine  the loaded student, whose answers are float32

    The people are those of DopePose; times are those on the GPU. Calls from several threads take turns. A
    call that fails loses its frame only. Raises BackendError where the engine's answers are of another type,
    and where kernels cannot be compiled.
    """

    def __init__(
        self,
        engine: GpuBackend,
        spec: StudentSpec,
        *,
        selection: Selection = "ppi",
        group_by: GroupBy = "rpn",
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(engine, spec, selection=selection, group_by=group_by, metadata=metadata)
        check_types(engine.outputs, np.float32)
        inputs = {tensor.name: tensor for tensor in engine.inputs}
        check_types([inputs["image"]], np.float32, np.float16)
        check_types([inputs["size"]], np.float32)
        self._dtype = inputs["image"].dtype
        self._begin(engine)
        # Once, so that the first picture does not wait for compilers, or fail for want of one.
        self(np.zeros((spec.input.height, spec.input.width, 3), np.uint8))

    def _open(self) -> None:
        self._upload, self._upload_size = Upload(self._cuda), Upload(self._cuda)
        self._to_input = GpuPreprocessor(self._cuda, self.spec.input, self._dtype)
        self._replay, self._stages = Replay(self._cuda), Stages(self._cuda)
        self._finders: dict[Part, _Finder] = {}
        self._checked_shapes: list[tuple[int, ...]] = []

    def __call__(self, image: Any) -> People:
        """Find everyone in a picture: (H, W, 3) uint8 in OpenCV's order of blue, green, red.

        It may also be NV12, as decoders and cameras have it: (3H/2, W) uint8, H and W even; and either may be
        on the GPU already, as an array of PyTorch or CuPy (runtime/foreign.py).

        Raises ValueError for another shape, dtype or GPU, BackendError where the backend fails.
        """
        with self._turn():
            picture = as_picture(image, self._cuda)
            return self._people(picture, _letterbox(source_size(picture), self.spec.input))

    def _people(self, picture: Any, box: Letterbox) -> People:
        began = time.perf_counter()
        on_gpu = picture if isinstance(picture, DeviceArray) else self._upload(picture)
        size = self._upload_size(np.array(box.size, np.float32))
        staged_ms = (time.perf_counter() - began) * 1e3
        stages = self._stages
        stages.begin()
        inputs = {"image": self._to_input(on_gpu, box), "size": size}
        stages.done("preprocess")
        answers = self._engine.enqueue(*(inputs[spec.name] for spec in self._engine.inputs))
        stages.done("network")
        finders = self._find(self._checked(answers), box)
        stages.done("postprocess")
        times = stages.milliseconds()  # from here on the GPU is done
        answered = time.perf_counter()
        body, hand, face = (finder.detections() for finder in finders)
        people = assemble(body, hand, face, box.source)
        times["preprocess"] += staged_ms
        times["postprocess"] += (time.perf_counter() - answered) * 1e3
        return people.with_metadata(**self._metadata, times_ms=times)

    def _checked(self, answers: Sequence[DeviceArray]) -> Answers:
        """By name, in the shapes that the kernels count on."""
        named = dict(zip((spec.name for spec in self._engine.outputs), answers, strict=True))
        wanted = self.spec.outputs
        if missing := [name for name in wanted if name not in named]:
            raise ArtefactError(f"{self.spec.name} does not answer {', '.join(missing)}: export it again")
        arrays = [named[name] for name in wanted]
        shapes = [array.shape for array in arrays]
        if shapes != self._checked_shapes:
            check_answers(self.spec.name, "a DOPE student", arrays, wanted, count=len(named["boxes"]))
            self._checked_shapes = shapes
        return named

    def _find(self, answers: Answers, box: Letterbox) -> list[_Finder]:
        """Ask for the detections of every part and for a copy of them."""
        finders = [self._finder(part, *answers[f"{part}_scores"].shape) for part in PARTS]

        def ask() -> None:
            for finder in finders:
                finder.ask(answers, box)

        self._replay((box, *((array.pointer, array.shape) for array in answers.values())), ask)
        return finders

    def _finder(self, part: Part, proposals: int, scores: int) -> _Finder:
        """The one of a part, with room for all proposals."""
        kept = self._finders.get(part)
        if kept is None or kept.proposals < proposals:
            self._replay.forget()
            options = self._ppi[part]
            kept = _Finder(self._cuda, part, options, self.selection, proposals, scores - 1)
            self._finders[part] = kept
        return kept


class _Finder:
    """Finds one part's people on the GPU; pinned memory gets a copy of as many as most pictures have."""

    def __init__(
        self, cuda: Cuda, part: Part, options: PpiOptions, selection: Selection, proposals: int, classes: int
    ) -> None:
        self.proposals = proposals
        self._cuda = cuda
        self._names = f"{part}_scores", "boxes", f"{part}_pose2d", f"{part}_pose3d"
        room = {"proposals": proposals, "classes": classes}
        self._integrate = GpuPpi(cuda, part, options, **room) if selection == "ppi" else None
        self._suppress = GpuPoseNms(cuda, part, options.K, **room) if selection == "nms" else None
        self._copied: tuple[DetectionRows, Floats] | None = None

    def ask(self, answers: Answers, box: Letterbox) -> None:
        scores, boxes, pose2d, pose3d = (answers[name] for name in self._names)
        if self._integrate is not None:
            rows = self._integrate(scores, boxes, pose2d, pose3d, box.to_source, box.source)
        else:
            assert self._suppress is not None
            rows = self._suppress(scores, pose2d, pose3d, box.to_source)
        if self._copied is None:
            self._copied = rows, self._cuda.pinned(rows.first.shape, np.float32)
        self._cuda.copy_out(rows.first, self._copied[1])

    def detections(self) -> Detections:
        """Those of the last picture, once the GPU is done."""
        assert self._copied is not None
        rows, first = self._copied
        return rows.unpack(first)
