"""COCO's average precision and recall of keypoints, for a whole person or one part of it.

The computing is faster-coco-eval's. Each part is judged as COCO-WholeBody's evaluation does (xtcocotools):
OKS over the part's own keypoints with the person's segment as `area`, the person's score for every part, at
most 20 people a picture; people without a labelled keypoint in the part and crowds are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

__all__ = ["AveragePrecision", "FoundPeople", "Joints", "TruePeople", "coco_average_precision"]

Joints = slice | NDArray[np.intp]
PERSON = {"id": 1, "name": "person"}
FAR = -1e6  # pixels: where a keypoint is put that was not seen


@dataclass(frozen=True, eq=False)
class TruePeople:
    """The G people marked in one picture.

    boxes      (G, 4) float32 x0 y0 x1 y1, pixels
    area       (G,) float32 square pixels, of the person's segment
    crowd      (G,) bool: a group marked as one, which counts neither for nor against
    keypoints  (G, K, 2) float32 pixels
    labelled   (G, K) bool
    """

    boxes: NDArray[np.float32]
    area: NDArray[np.float32]
    crowd: NDArray[np.bool_]
    keypoints: NDArray[np.float32]
    labelled: NDArray[np.bool_]

    def judged(self, part: Joints = slice(None)) -> NDArray[np.bool_]:
        """(G,) bool: people, not crowds, with at least one labelled keypoint in the part."""
        judged: NDArray[np.bool_] = ~self.crowd & self.labelled[:, part].any(axis=1)
        return judged


@dataclass(frozen=True, eq=False)
class FoundPeople:
    """The P people predicted in one picture: keypoints (P, K, 2) pixels, NaN where not seen; score (P,)."""

    keypoints: NDArray[np.float32]
    score: NDArray[np.float32]


@dataclass(frozen=True)
class AveragePrecision:
    """COCO's figures in 0..1, NaN where nobody is judged; `people` is how many are."""

    ap: float
    ap_50: float
    ap_75: float
    ar: float
    people: int


def coco_average_precision(
    truth: Sequence[TruePeople],
    found: Sequence[FoundPeople],
    sigmas: Sequence[float],
    part: Joints = slice(None),
) -> AveragePrecision:
    """AP and AR at OKS 0.50:0.05:0.95 over pictures, each with its true and its predicted people.

    part selects keypoints, of which `sigmas` are the OKS constants. A predicted keypoint that is NaN is
    nowhere near; a person without any in the part is no prediction of it. Raises ValueError where `truth` and
    `found` are not of the same pictures.
    """
    pictures = list(zip(truth, found, strict=True))
    people = sum(int(picture.judged(part).sum()) for picture in truth)
    if not people:
        return AveragePrecision(np.nan, np.nan, np.nan, np.nan, 0)
    judge = COCOeval_faster(
        _dataset(len(truth), [each for i, (true, _) in enumerate(pictures) for each in _true(i, true, part)]),
        _dataset(len(truth), [each for i, (_, got) in enumerate(pictures) for each in _found(i, got, part)]),
        "keypoints",
        kpt_oks_sigmas=np.asarray(sigmas)[part].tolist(),
    )
    judge.evaluate()
    judge.accumulate()
    return _figures(judge, people)


def _figures(judge: Any, people: int) -> AveragePrecision:
    """precision (thresholds, recalls, categories, areas, counts), recall without recalls; area 0 is all."""
    precision, recall = judge.eval["precision"][:, :, 0, 0, -1], judge.eval["recall"][:, 0, 0, -1]
    at = {round(100 * t): i for i, t in enumerate(judge.params.iouThrs)}
    return AveragePrecision(
        ap=float(precision.mean()),
        ap_50=float(precision[at[50]].mean()),
        ap_75=float(precision[at[75]].mean()),
        ar=float(recall.mean()),
        people=people,
    )


def _dataset(pictures: int, annotations: list[dict[str, Any]]) -> Any:
    numbered = [{**annotation, "id": i} for i, annotation in enumerate(annotations, 1)]
    return COCO(
        {"images": [{"id": i} for i in range(pictures)], "categories": [PERSON], "annotations": numbered}
    )


def _true(picture: int, people: TruePeople, part: Joints) -> list[dict[str, Any]]:
    labelled, judged = people.labelled[:, part], people.judged(part)
    return [
        {
            "image_id": picture,
            "category_id": PERSON["id"],
            "keypoints": _triples(people.keypoints[i, part], 2 * labelled[i]),
            "num_keypoints": int(judged[i]) and int(labelled[i].sum()),
            "bbox": _xywh(people.boxes[i]),
            "area": float(people.area[i]),
            "iscrowd": int(people.crowd[i]),
        }
        for i in range(len(judged))
    ]


def _found(picture: int, people: FoundPeople, part: Joints) -> list[dict[str, Any]]:
    """`area` and `bbox` serve AP of medium and large people, which is not asked for."""
    poses = people.keypoints[:, part]
    return [
        {
            "image_id": picture,
            "category_id": PERSON["id"],
            "keypoints": _triples(np.nan_to_num(poses[i], nan=FAR), np.ones(poses.shape[1])),
            "score": float(people.score[i]),
            "area": 1.0,
            "bbox": [0.0, 0.0, 1.0, 1.0],
            "iscrowd": 0,
        }
        for i in np.flatnonzero(np.isfinite(poses).any(axis=(1, 2)))
    ]


def _triples(points: NDArray[Any], third: NDArray[Any]) -> list[float]:
    triples: list[float] = np.column_stack([points, third]).astype(np.float64).ravel().tolist()
    return triples


def _xywh(box: NDArray[np.float32]) -> list[float]:
    x0, y0, x1, y1 = map(float, box)
    return [x0, y0, x1 - x0, y1 - y0]
