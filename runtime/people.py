"""The one value every pipeline answers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.skeletons import SKELETONS, Skeleton

__all__ = ["Floats", "People"]

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class People:
    """N people of K keypoints each; what was not seen has score 0 and NaN coordinates.

    keypoints    (N, K, 2) float32, pixels of the source picture; (0, 0) is the centre of its top-left pixel
    scores       (N, K) float32, 0 where a keypoint was not seen
    keypoints3d  (N, K, 3) float32 or None: metres, x right, y down, z away from the camera, origin at the
                 centre of the person's body (of the hand or face where there is no body)
    boxes        (N, 4) float32, x0 y0 x1 y1 in pixels of the source picture
    score        (N,) float32, the person's own; a pose-proposal sum may exceed 1
    skeleton     what the K keypoints mean
    metadata     backend, provider and stage times of the call that found them
    ids          (N,) int64 or None: the same number for the same person from frame to frame

    Raises ValueError where shapes disagree. The arrays are made read-only.
    """

    keypoints: Floats
    scores: Floats
    keypoints3d: Floats | None
    boxes: Floats
    score: Floats
    skeleton: Skeleton
    metadata: Mapping[str, Any] = field(default_factory=dict)
    ids: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        n, k = len(self.score), len(self.skeleton)
        expected: dict[str, tuple[int, ...]] = {
            "keypoints": (n, k, 2),
            "scores": (n, k),
            "keypoints3d": (n, k, 3),
            "boxes": (n, 4),
            "score": (n,),
            "ids": (n,),
        }
        for name, shape in expected.items():
            value = getattr(self, name)
            if value is None:
                continue
            array = np.array(value, np.int64 if name == "ids" else np.float32)
            if array.shape != shape:
                raise ValueError(f"People.{name}: expected shape {shape}, got {array.shape}")
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))

    @classmethod
    def empty(cls, skeleton: Skeleton, *, with_3d: bool = False) -> People:
        """Nobody: every array has length zero."""
        k = len(skeleton)
        return cls(
            keypoints=np.zeros((0, k, 2), np.float32),
            scores=np.zeros((0, k), np.float32),
            keypoints3d=np.zeros((0, k, 3), np.float32) if with_3d else None,
            boxes=np.zeros((0, 4), np.float32),
            score=np.zeros(0, np.float32),
            skeleton=skeleton,
        )

    def __len__(self) -> int:
        return len(self.score)

    def __repr__(self) -> str:
        axes = "2D" if self.keypoints3d is None else "2D and 3D"
        return f"People({len(self)} of {self.skeleton.name}, {axes})"

    def __reduce__(self) -> tuple[Any, ...]:
        """For copies and other processes, to which a skeleton goes by its name."""
        arrays = self.keypoints, self.scores, self.keypoints3d, self.boxes, self.score
        return _people, (*arrays, self.skeleton.name, dict(self.metadata), self.ids)

    def with_metadata(self, **metadata: Any) -> People:
        """The same people, with these entries added to the metadata."""
        other = object.__new__(People)  # not `replace`, which would check and copy every array once more
        other.__dict__.update(self.__dict__, metadata=MappingProxyType({**self.metadata, **metadata}))
        return other

    def has_part(self, part: str) -> NDArray[np.bool_]:
        """(N,) bool: whether any keypoint of the named part was seen."""
        seen: NDArray[np.bool_] = np.any(self.scores[:, self.skeleton.parts[part]] > 0, axis=1)
        return seen

    def to_dict(self) -> dict[str, Any]:
        """Plain lists for JSON: numbers rounded to 0.01 px and 0.1 mm, null where a keypoint was not seen."""
        return {"skeleton": self.skeleton.name, "people": [self._person(i) for i in range(len(self))]}

    def _person(self, i: int) -> dict[str, Any]:
        person: dict[str, Any] = {} if self.ids is None else {"id": int(self.ids[i])}
        person |= {
            "score": round(float(self.score[i]), 4),
            "box": [round(float(v), 2) for v in self.boxes[i]],
            "keypoints": [_numbers(p, 2) for p in self.keypoints[i]],
            "scores": [round(float(s), 4) for s in self.scores[i]],
        }
        if self.keypoints3d is not None:
            person["keypoints3d"] = [_numbers(p, 4) for p in self.keypoints3d[i]]
        return person


def _people(
    keypoints: Floats,
    scores: Floats,
    keypoints3d: Floats | None,
    boxes: Floats,
    score: Floats,
    skeleton: str,
    metadata: dict[str, Any],
    ids: NDArray[np.int64] | None,
) -> People:
    return People(keypoints, scores, keypoints3d, boxes, score, SKELETONS[skeleton], metadata, ids)


def _numbers(point: Floats, digits: int) -> list[float] | None:
    return [round(float(v), digits) for v in point] if np.isfinite(point).all() else None
