"""One picture through a person detector: boxes around people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.backends.backend import Array, Backend
from wholebody.runtime.boxes import clip_boxes, suppress
from wholebody.runtime.geometry import Letterbox, Pixels
from wholebody.runtime.gpu import DeviceArray
from wholebody.runtime.kernels.detections import decode_rtmdet, decode_yolox, unpack_suppressed
from wholebody.runtime.kernels.letterbox import Letterboxer, letterbox_in
from wholebody.runtime.people import Floats
from wholebody.runtime.pipelines.checks import check_answers, check_input_type, check_number
from wholebody.runtime.pipelines.picture import check_picture
from wholebody.runtime.spec import DetectorSpec

__all__ = ["PersonDetector"]

A = TypeVar("A", Array, DeviceArray)


class PersonDetector:
    """`boxes, score = detect(image_bgr)`.

    backend    the loaded detector
    min_score  boxes that score less are left out
    iou        of two boxes that overlap by more than this the better is kept (non-maximum suppression)
    min_area   boxes of fewer pixels of the source picture are left out

    One PersonDetector serves several threads at once where its backend does. Raises ValueError for a number
    that is not allowed, ArtefactError for a network that takes no fractions where it needs them.
    """

    def __init__(
        self,
        backend: Backend,
        spec: DetectorSpec,
        *,
        min_score: float = 0.3,
        iou: float = 0.6,
        min_area: float = 100.0,
    ) -> None:
        check_number("min_score", min_score, 0 <= min_score <= 1, "0 to 1")
        check_number("iou", iou, 0 <= iou <= 1, "0 to 1")
        check_number("min_area", min_area, 0 <= min_area < np.inf, "0 or more pixels")
        check_input_type(spec.name, backend, spec.input)
        self.backend = backend
        self.spec = spec
        self.min_score = min_score
        self.iou = iou
        self.min_area = min_area
        self._letterboxer = Letterboxer(spec.input)
        self._dtype = backend.inputs[0].dtype

    def __call__(self, image_bgr: Pixels) -> tuple[Floats, Floats]:
        """Boxes (N, 4) in pixels of the source picture, inside it, and score (N,), float32, best first.

        image_bgr is (H, W, 3) uint8 in OpenCV's order of blue, green, red. Raises ValueError for another
        shape or dtype, BackendError where the backend fails, ArtefactError where its answer is no detector's.
        """
        check_picture(image_bgr)
        box = letterbox_in(image_bgr.shape[:2], self.spec.input)
        answer = self.backend(self._letterboxer(image_bgr, box).astype(self._dtype, copy=False))
        boxes, score = self._decode([array[0] for array in self._arranged(answer)])
        return self._select(boxes, score, box)

    def _arranged(self, answer: Sequence[A]) -> list[A]:
        """The arrays as the description lists them; a detector of one class needs no labels."""
        arrays = sorted(answer, key=lambda array: (-array.ndim, -array.size))
        wanted = dict(self.spec.outputs)
        if self.spec.layout == "suppressed":
            boxes = arrays[0].shape[1] if arrays[0].ndim == 3 else None
            wanted = {"dets": (None, boxes, 5)} | ({"labels": (None, boxes)} if len(arrays) > 1 else {})
        check_answers(self.spec.name, self.spec.layout, arrays, wanted, count=1)
        return arrays

    def _decode(self, arrays: list[Array]) -> tuple[Floats, Floats]:
        """People in pixels of the network's input."""
        size, person = (self.spec.input.height, self.spec.input.width), self.spec.person
        if self.spec.layout == "rtmdet":
            maps = [_floats(array) for array in arrays]
            return decode_rtmdet(maps, size, person=person, min_score=self.min_score)
        if self.spec.layout == "yolox":
            return decode_yolox(_floats(arrays[0]), size, person=person, min_score=self.min_score)
        labels = arrays[1] if len(arrays) == 2 else None
        return unpack_suppressed(_floats(arrays[0]), labels, person=person, min_score=self.min_score)

    def _select(self, boxes: Floats, score: Floats, box: Letterbox) -> tuple[Floats, Floats]:
        with np.errstate(over="ignore"):  # an infinite side is cut off like any other outside the picture
            boxes = clip_boxes(boxes * np.array(box.to_source * 2, np.float32), box.source)
        sides = boxes[:, 2:] - boxes[:, :2]
        area = np.where((sides > 0).all(axis=1), sides.prod(axis=1), 0)
        large = (area > 0) & (area >= self.min_area)
        boxes, score = boxes[large], score[large]
        kept = suppress(boxes, score, self.iou)
        return boxes[kept], score[kept]

    def __repr__(self) -> str:
        size = f"{self.spec.input.width}x{self.spec.input.height}"
        return f"PersonDetector({self.spec.name!r}, {size}, {self.spec.layout}, {self.backend.name})"


def _floats(array: NDArray[Any]) -> Floats:
    return np.asarray(array, np.float32)
