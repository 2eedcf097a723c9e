"""A person detector on the GPU: a picture goes up, or is there, and a few boxes come back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wholebody.runtime.backends.backend import GpuBackend
from wholebody.runtime.cuda import Cuda
from wholebody.runtime.gpu import DeviceArray
from wholebody.runtime.kernels.letterbox import letterbox_in
from wholebody.runtime.kernels.person_boxes_gpu import GpuPersonBoxes
from wholebody.runtime.kernels.pixels import source_size
from wholebody.runtime.kernels.preprocess_gpu import GpuLetterboxer
from wholebody.runtime.people import Floats
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.pipelines.on_gpu import OnGpu, Upload, as_picture, check_types
from wholebody.runtime.spec import DetectorSpec
from wholebody.runtime.spec.detector import STRIDES

__all__ = ["GpuPersonDetector"]


class GpuPersonDetector(OnGpu, PersonDetector):
    """`boxes, score = detect(image)`: a PersonDetector whose picture and candidates never leave the GPU.

    engine   the loaded detector
    options  those of PersonDetector

    A picture may also be NV12, (3H/2, W) uint8, H and W even; and either may be on the GPU already, as an
    array of PyTorch or CuPy (runtime/foreign.py). The boxes are those of PersonDetector, but where resizing
    rounds a level of 255 otherwise. The few that score enough are suppressed by the CPU. Calls from several
    threads take turns; one that fails loses its frame only. Raises BackendError where the engine takes or
    answers another type than float32 or float16, and where kernels cannot be compiled.
    """

    def __init__(self, engine: GpuBackend, spec: DetectorSpec, **options: Any) -> None:
        super().__init__(engine, spec, **options)
        check_types(engine.inputs, np.float32, np.float16)
        if spec.layout != "suppressed":
            check_types(engine.outputs, np.float32, np.float16)
        self._begin(engine)
        # Once, so that the first picture does not wait for compilers, or fail for want of one.
        self(np.zeros((spec.input.height, spec.input.width, 3), np.uint8))

    def _open(self) -> None:
        given, cuda = self.spec.input, self._cuda
        self._upload = Upload(cuda)
        self._to_input = GpuLetterboxer(cuda, given, self._engine.inputs[0].dtype)
        self._found = GpuPersonBoxes(
            cuda, sum((given.height // s) * (given.width // s) for s in STRIDES), (given.height, given.width),
            person=self.spec.person, min_score=self.min_score,
        )  # fmt: skip
        self._first: Floats = cuda.pinned(self._found.first.shape, np.float32)

    def __call__(self, image: Any, *, after: Cuda | None = None) -> tuple[Floats, Floats]:
        """Boxes (N, 4) in pixels of the source picture, inside it, and score (N,), float32, best first.

        after  whose stream the picture is on its way in

        Raises ValueError for another shape, dtype or GPU, BackendError where the backend fails, ArtefactError
        where its answer is no detector's.
        """
        with self._turn():
            if after is not None:
                self._cuda.wait_for(int(after.stream.handle))
            picture = as_picture(image, self._cuda)
            box = letterbox_in(source_size(picture), self.spec.input)
            there = picture if isinstance(picture, DeviceArray) else self._upload(picture)
            answer = self._engine.enqueue(self._to_input(there, box))
            boxes, score = self._decode_there(self._arranged(answer))
        return self._select(boxes, score, box)

    def _decode_there(self, answer: Sequence[DeviceArray]) -> tuple[Floats, Floats]:
        """People in pixels of the network's input; waits for the GPU."""
        one = [array.reshape(*array.shape[1:]) for array in answer]
        if self.spec.layout == "suppressed":
            return self._decode([self._cuda.download(array) for array in one])
        if self.spec.layout == "rtmdet":
            self._found.rtmdet(one)
        else:
            self._found.yolox(one[0])
        self._cuda.copy_out(self._found.first, self._first)
        self._cuda.synchronize()
        return self._found.unpack(self._first)
