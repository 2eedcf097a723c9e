"""Time of pose-proposal integration: `python -m wholebody.benchmarks.ppi`.

Two implementations of the same steps take turns on the same crowded picture: `plain_ppi`, written here from
the description of the method, one mode after the other with every pose of the group compared and averaged,
and the runtime's `integrate`. The plain one is vectorised over the candidates of a group; it is ours, not the
published code, whose time is not measured here. Times include the selection of the candidates. The two
answers are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.kernels.ppi import PpiOptions, integrate
from wholebody.runtime.kernels.proposals import Candidates, Detections, Part, select_candidates

__all__ = ["CASES", "Case", "Proposals", "crowd", "plain_ppi"]


# --- the case -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """What a part's network answers with: classes without background, and joints."""

    part: Part
    classes: int
    joints: int
    K: int


CASES = (Case("body", 20, 13, 10), Case("hand", 10, 21, 5), Case("face", 10, 84, 10))


@dataclass(frozen=True, eq=False)
class Proposals:
    """A part's network output: scores (N, K+1), boxes (N, 4), pose2d (N, K, J, 2), pose3d (N, K, J, 3)."""

    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    pose2d: NDArray[np.float32]
    pose3d: NDArray[np.float32]

    def select(self, score_th: float | None = None) -> Candidates:
        return select_candidates(self.scores, self.boxes, self.pose2d, self.pose3d, score_th)


def crowd(case: Case, people: int = 8, each: int = 75, clutter: int = 400, seed: int = 0) -> Proposals:
    """A crowded picture of 1280 x 720: `each` proposals jitter around each person, `clutter` lie anywhere.

    A class's 3D pose is its anchor pose with 4 cm of noise on a person and 30 cm on clutter. A person's
    proposals favour one class, clutter the background. Four in five (box, class) pairs reach the threshold.
    """
    rng = np.random.default_rng(seed)
    n, shape = people * each + clutter, (case.classes, case.joints)
    owner = np.r_[np.repeat(np.arange(people), each), np.full(clutter, -1)]
    seen = owner >= 0

    centre = rng.uniform((100, 100), (1180, 620), (people, 2))
    size = rng.uniform((80, 160), (240, 480), (people, 2))
    middle = np.where(seen[:, None], centre[owner], rng.uniform((0, 0), (1280, 720), (n, 2)))
    side = np.where(seen[:, None], size[owner], rng.uniform(20, 300, (n, 2)))
    jitter = np.where(seen, 0.06, 0)[:, None]
    middle += rng.normal(size=(n, 2)) * jitter * side
    side *= np.exp(rng.normal(size=(n, 2)) * jitter)

    logits = rng.normal(0, 1, (n, case.classes + 1))
    logits[:, 0] += np.where(seen, -0.5, rng.uniform(0, 4.5, n))
    favourite = rng.integers(case.classes, size=people)[owner]
    logits[seen, 1 + favourite[seen]] += rng.uniform(1, 6, seen.sum())
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    anchor2d, anchor3d = rng.uniform(-0.1, 1.1, (*shape, 2)), rng.normal(0, 0.3, (*shape, 3))
    noise = np.where(seen, 0.04, 0.3)[:, None, None, None]
    relative = anchor2d + rng.normal(size=(n, *shape, 2)) * noise
    pose2d = (middle - side / 2)[:, None, None] + relative * side[:, None, None]
    pose3d = anchor3d + rng.normal(size=(n, *shape, 3)) * noise
    mixed = rng.permutation(n)
    boxes = np.concatenate([middle - side / 2, middle + side / 2], axis=1)
    return Proposals(*(a[mixed].astype(np.float32) for a in (scores, boxes, pose2d, pose3d)))


# --- the plain implementation -------------------------------------------------------------------------------

Mode = tuple[float, Any, Any, int]  # summed score, pose2d, pose3d, class of the first member
_SETS = {"torso": [4, 5, 10, 11], "torsohead": [4, 5, 10, 11, 12], "head": [12], "shoulderhead": [10, 11, 12]}


def plain_ppi(
    candidates: Candidates, part: Part, options: PpiOptions, resolution: tuple[int, int] | None = None
) -> Detections:
    """Pose-proposal integration step by step: slow, and the specification of `integrate`."""
    found: list[Mode] = []
    left = np.arange(len(candidates))
    while len(left):
        top = left[candidates.score[left].argmax()]
        near = _overlaps(candidates, top, left, options, resolution) | (left == top)
        modes = _modes(candidates, left[near], part, options)
        best = max(modes, key=lambda mode: mode[0])  # the first of equals
        if best[0] > options.th_persondetect:
            found.append(best)
        left = left[~near]
    found.sort(key=lambda mode: -mode[0])
    return _detections(found, part, options)


def _overlaps(
    candidates: Candidates,
    top: int,
    others: NDArray[np.intp],
    options: PpiOptions,
    resolution: tuple[int, int] | None,
) -> NDArray[np.bool_]:
    """(A,) bool: whether each of the other candidates shows the same person as `top`."""
    if options.iou_func == "bbox":
        boxes = candidates.box if options.group_by == "rpn" else _pose_boxes(candidates.pose2d, resolution)
        overlap: NDArray[np.bool_] = _iou(boxes[top], boxes[others]) > options.th_iou
        return overlap
    name = options.iou_func.removesuffix("LR")
    joints = list(range(candidates.pose2d.shape[1])) if name == "mje" else _SETS[name]
    mine, theirs = candidates.pose2d[top, joints], candidates.pose2d[others][:, joints]
    distance = np.linalg.norm(theirs - mine, axis=2).mean(axis=1)
    if options.iou_func.endswith("LR"):
        swapped = [j if j == 12 else j + 1 - 2 * (j % 2) for j in joints]
        theirs = candidates.pose2d[others][:, swapped]
        distance = np.minimum(distance, np.linalg.norm(theirs - mine, axis=2).mean(axis=1))
    x0, y0, x1, y1 = candidates.box[top]
    near: NDArray[np.bool_] = distance / (2 * max(x1 - x0 + 1, y1 - y0 + 1)) < options.th_iou
    return near


def _pose_boxes(pose2d: NDArray[np.float32], resolution: tuple[int, int] | None) -> NDArray[np.float32]:
    boxes = np.concatenate([pose2d.min(axis=1), pose2d.max(axis=1)], axis=1)
    if resolution is not None:
        height, width = resolution
        boxes[:, 0::2] = boxes[:, 0::2].clip(0, width - 1)
        boxes[:, 1::2] = boxes[:, 1::2].clip(0, height - 1)
    return boxes


def _iou(box: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union where a box includes its last row and column."""
    x0, y0 = np.maximum(box[0], others[:, 0]), np.maximum(box[1], others[:, 1])
    x1, y1 = np.minimum(box[2], others[:, 2]), np.minimum(box[3], others[:, 3])
    shared = np.maximum(x1 - x0 + 1, 0) * np.maximum(y1 - y0 + 1, 0)
    areas = (others[:, 2] - others[:, 0] + 1) * (others[:, 3] - others[:, 1] + 1)
    area = (box[2] - box[0] + 1) * (box[3] - box[1] + 1)
    iou: NDArray[np.float32] = shared / (area + areas - shared)
    return iou


def _modes(candidates: Candidates, group: NDArray[np.intp], part: Part, options: PpiOptions) -> list[Mode]:
    """Every mode of a group, in the order in which they are found."""
    score, pose3d = candidates.score[group], candidates.pose3d[group]
    modes: list[Mode] = []
    free = np.ones(len(group), np.bool_)
    while free.any():
        head = np.where(free, score, -1).argmax()
        if modes and score[head] < options.min_mode_score:
            break
        member = np.linalg.norm(pose3d - pose3d[head], axis=2).mean(axis=1) < options.th_pose3D
        member[head] = True
        weights = np.repeat(score[member, None], pose3d.shape[1], axis=1)
        if part == "body":
            weights[candidates.label[group[member]] >= options.K, :4] *= 0.1
        weights = weights[..., None]
        with np.errstate(invalid="ignore"):  # all scores zero
            mean2d = (weights * candidates.pose2d[group[member]]).sum(axis=0) / weights.sum(axis=0)
            mean3d = (weights * pose3d[member]).sum(axis=0) / weights.sum(axis=0)
        total = float(score[member].sum(dtype=np.float64))
        modes.append((total, mean2d, mean3d, int(candidates.label[group[head]])))
        free[member] = False
    return modes


def _detections(found: list[Mode], part: Part, options: PpiOptions) -> Detections:
    if not found:
        return Detections.empty(part)
    score, pose2d, pose3d, label = (np.array(column) for column in zip(*found, strict=True))
    right = label < options.K if part == "hand" else None
    return Detections(score.astype(np.float32), pose2d, pose3d, label, right, _pose_boxes(pose2d, None))


# --- the measurement ----------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description="Time pose-proposal integration on a crowded picture.")
    parser.add_argument(
        "--repeats", type=int, default=20, help="of the runtime's, five to each of the plain one"
    )
    repeats = parser.parse_args().repeats
    print(f"{'part':6}{'candidates':>11}{'people':>8}{'plain ms':>22}{'runtime ms':>22}{'ratio':>8}")
    print(f"{'':25}{'(min / median)':>22}{'(min / median)':>22}{'(min)':>8}")
    for case in CASES:
        print(_measure(case, repeats))


def _measure(case: Case, repeats: int) -> str:
    proposals, options = crowd(case), PpiOptions(case.K)

    def fast() -> Detections:
        return integrate(proposals.select(), case.part, options)

    def plain() -> Detections:
        return plain_ppi(proposals.select(), case.part, options)

    answer = fast()
    _compare(answer, plain())
    plain_ms, fast_ms = [], []
    for i in range(repeats):
        fast_ms.append(_milliseconds(fast))
        if i % 5 == 0:
            plain_ms.append(_milliseconds(plain))
    size = f"{case.part:6}{len(proposals.select()):11,}{len(answer):8}"
    times = "".join(f"{f'{min(t):.1f} / {np.median(t):.1f}':>22}" for t in (plain_ms, fast_ms))
    return f"{size}{times}{min(plain_ms) / min(fast_ms):7.0f}x"


def _compare(got: Detections, expected: Detections) -> None:
    """Raises AssertionError where two implementations differ."""
    np.testing.assert_allclose(got.score, expected.score, rtol=1e-4)
    np.testing.assert_allclose(got.pose2d, expected.pose2d, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(got.pose3d, expected.pose3d, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(got.label, expected.label)


def _milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


if __name__ == "__main__":
    main()
