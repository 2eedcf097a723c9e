"""A network's answers to one input as poses that can be held against another network's.

They are decoded by the runtime's own pipelines, in pixels of the network's input: drift is then that of the
student and not of the camera. A box is the pose of its two corners.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.backends.backend import Array, Backend, TensorSpec
from wholebody.runtime.backends.fake import FakeBackend
from wholebody.runtime.kernels.heatmap import decode_heatmaps
from wholebody.runtime.kernels.simcc import decode_depth, decode_simcc
from wholebody.runtime.people import Floats
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.pipelines.dope import DopePose
from wholebody.runtime.skeletons import SKELETONS
from wholebody.runtime.spec import AnySpec, DetectorSpec, StudentSpec, TopDownSpec

__all__ = ["BOX", "Poses", "ask", "part_slices", "poses_of"]

BOX = "person"  # the one part of a detector
CONFIDENT = 0.3  # the least score at which mmpose and its ports show a joint
CONFIDENT_SUM = 1.0  # of the scores of the proposals that become one: a sure one, or some that agree
CONFIDENT_BOX = 0.5  # the pipeline takes boxes from 0.3 on, and there a trifle decides
SEGMENT = 0.53  # of a box is its person: the area of OKS where a data set has no segments, as AI Challenger's

Answers = Mapping[str, Floats]


@dataclass(frozen=True)
class Poses:
    """M poses of J joints; what was not seen has score 0 and NaN coordinates.

    keypoints    (M, J, 2) pixels of the network's input
    scores       (M, J)
    keypoints3d  (M, J, 3) metres, or None
    size, area   (M,) longer side of the person in pixels, and square pixels of its segment
    confident    the least score of a joint that has to be found again
    fixed        whether the m-th pose answers the same question in every network, as one crop's does
    """

    keypoints: Floats
    scores: Floats
    keypoints3d: Floats | None
    size: Floats
    area: Floats
    confident: float = CONFIDENT
    fixed: bool = False

    def __len__(self) -> int:
        return len(self.size)

    @property
    def sure(self) -> NDArray[np.bool_]:
        """(M, J) the joints that have to be found again."""
        return np.asarray(self.scores >= self.confident)

    def part(self, joints: slice) -> Poses:
        """The poses of some of the joints, without those of which nothing was seen."""
        seen = (self.scores[:, joints] > 0).any(axis=1) | self.fixed
        return replace(
            self,
            keypoints=self.keypoints[seen, joints],
            scores=self.scores[seen, joints],
            keypoints3d=None if self.keypoints3d is None else self.keypoints3d[seen, joints],
            size=self.size[seen],
            area=self.area[seen],
        )


def part_slices(spec: AnySpec) -> dict[str, tuple[slice, ...]]:
    """The joints of each part a drift is told for; both hands are one part."""
    if isinstance(spec, DetectorSpec):
        return {BOX: (slice(0, 2),)}
    slices: dict[str, tuple[slice, ...]] = {}
    hands = "hand" if isinstance(spec, StudentSpec) else "hands"
    for part, joints in SKELETONS[spec.skeleton].parts.items():
        name = hands if part in ("left_hand", "right_hand") else part
        slices[name] = (*slices.get(name, ()), joints)
    return slices


def ask(backend: Backend, inputs: Mapping[str, Array]) -> Answers:
    """One input's answers by name, in FP32; a network of one input takes the only one, whatever its name."""
    names = [spec.name for spec in backend.inputs]
    values = list(inputs.values()) if len(names) == len(inputs) == 1 else [inputs[name] for name in names]
    typed = (value.astype(spec.dtype, copy=False) for value, spec in zip(values, backend.inputs, strict=True))
    answers = zip((spec.name for spec in backend.outputs), backend(*typed), strict=True)
    return {name: np.asarray(array, np.float32) for name, array in answers}


def poses_of(answers: Answers, spec: AnySpec, inputs: Mapping[str, Array]) -> Poses:
    """Everyone in an answer, with all joints; nobody where a number of it is none."""
    sound = all(np.isfinite(array).all() for array in answers.values())
    if isinstance(spec, TopDownSpec):
        return _crops(answers, spec, sound)
    if isinstance(spec, StudentSpec):
        return _dope(answers, spec, inputs) if sound else _nobody(len(SKELETONS[spec.skeleton]), solid=True)
    return _boxes(answers, spec) if sound else _nobody(2, solid=False)


def _dope(answers: Answers, spec: StudentSpec, inputs: Mapping[str, Array]) -> Poses:
    """The pipeline over a picture that fills the network's input as the given one did, one to one."""
    height, width = (int(side) for side in inputs["size"])
    least, most = min(height, width), max(height, width)
    fitting = replace(spec.input, height=height, width=width, min_size=least, max_size=most)
    people = DopePose(FakeBackend((), answers), replace(spec, input=fitting))(
        np.zeros((height, width, 3), np.uint8)
    )
    sides_xy = people.boxes[:, 2:] - people.boxes[:, :2]
    return Poses(
        people.keypoints, people.scores, people.keypoints3d,
        np.maximum(sides_xy.max(axis=1), 1), np.maximum(SEGMENT * sides_xy.prod(axis=1), 1), CONFIDENT_SUM,
    )  # fmt: skip


def _crops(answers: Answers, spec: TopDownSpec, sound: bool) -> Poses:
    """One person a crop, as large as the box that the crop was grown from."""
    arrays = [answers[name] for name in spec.outputs]
    height, width = spec.input.height, spec.input.width
    if spec.head == "simcc":
        keypoints, scores = decode_simcc(arrays[0], arrays[1], spec.split)
    else:
        keypoints, scores = decode_heatmaps(arrays[0], (width, height), udp=spec.udp)
    if not sound:
        keypoints, scores = np.full_like(keypoints, np.nan), np.zeros_like(scores)
    people = len(scores)
    solid = None
    if spec.depth is not None:  # the depth alone: x and y in metres are the lifting's, not the network's
        solid = np.zeros((*scores.shape, 3), np.float32)
        solid[..., 2] = decode_depth(arrays[2], spec.depth)
    size = np.full(people, max(height, width) / spec.padding, np.float32)
    area = np.full(people, SEGMENT * height * width / spec.padding**2, np.float32)
    return Poses(keypoints, scores, solid, size, area, fixed=True)


def _boxes(answers: Answers, spec: DetectorSpec) -> Poses:
    shape = 1, 3, spec.input.height, spec.input.width
    backend = FakeBackend((TensorSpec("image", shape, np.dtype(np.float32)),), answers)
    boxes, score = PersonDetector(backend, spec)(np.zeros((*shape[2:], 3), np.uint8))
    sides = boxes[:, 2:] - boxes[:, :2]
    corners: NDArray[np.float32] = boxes.reshape(-1, 2, 2)
    scores = np.repeat(score[:, None], 2, axis=1)
    return Poses(corners, scores, None, sides.max(axis=1), sides.prod(axis=1), CONFIDENT_BOX)


def _nobody(joints: int, *, solid: bool) -> Poses:
    flat = np.zeros((0, joints, 2), np.float32)
    empty = np.zeros(0, np.float32)
    return Poses(flat, flat[..., 0], np.zeros((0, joints, 3), np.float32) if solid else None, empty, empty)
