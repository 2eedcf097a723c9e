"""Time of what surrounds a top-down student: `python -m wholebody.benchmarks.top_down_stages`.

Crops of everyone in a picture, the decoding of their 133 keypoints and the suppression of doubled people, in
two implementations that take turns: plain ones, written here, that take one person and one pair after the
other; and the runtime's. The two answers are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.machine import Machine
from wholebody.runtime.geometry import Pixels
from wholebody.runtime.kernels.crop import Cropper, crop_affines, to_source
from wholebody.runtime.kernels.oks import oks_nms
from wholebody.runtime.kernels.simcc import decode_simcc
from wholebody.runtime.people import Floats
from wholebody.runtime.skeletons import WHOLEBODY133
from wholebody.runtime.spec import CropInput

__all__ = ["CROP", "SPLIT", "Case", "crowd", "plain_crops", "plain_decode", "plain_oks", "plain_oks_nms"]

CROP = CropInput(256, 192, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "rgb")
PADDING, SPLIT = 1.25, 2.0
STAGES = ("crops", "decode", "pose NMS", "together")


# --- the case -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Case:
    """A picture (H, W, 3), N people's boxes (N, 4) and score (N,), and a student's SimCC answers for them."""

    image: Pixels
    boxes: Floats
    score: Floats
    simcc_x: Floats
    simcc_y: Floats

    @property
    def areas(self) -> Floats:
        """(N,) square pixels."""
        width, height = (self.boxes[:, 2:] - self.boxes[:, :2]).T
        areas: Floats = width * height
        return areas


def crowd(people: int, seed: int = 0) -> Case:
    """People of all sizes in a picture of 1280 x 720; every fourth is the one before it, seen twice."""
    rng = np.random.default_rng(seed)
    height = rng.uniform(120, 600, people)
    size = np.stack([height * rng.uniform(0.3, 0.9, people), height], axis=1)
    corner = rng.uniform((0, 0), (1000, 400), (people, 2))
    boxes = np.concatenate([corner, corner + size], axis=1)
    bins = [rng.integers(60, round(SPLIT * side) - 60, (people, 133)) for side in (CROP.width, CROP.height)]
    twice = np.arange(3, people, 4)
    for array in (boxes, *bins):
        array[twice] = array[twice - 1]
    simcc_x, simcc_y = (
        _peaked(at, side, rng) for at, side in zip(bins, (CROP.width, CROP.height), strict=True)
    )
    image = rng.integers(0, 256, (720, 1280, 3), np.uint8)
    return Case(image, boxes.astype(np.float32), rng.random(people, np.float32), simcc_x, simcc_y)


def _peaked(bins: NDArray[np.int64], side: int, rng: np.random.Generator) -> Floats:
    """(N, 133, split * side) noise with a Gaussian at each bin, as high as a trained student's."""
    axis = np.arange(round(SPLIT * side), dtype=np.float32)
    peak = np.exp(-((axis - bins[..., None]) ** 2) / (2 * 5.0**2)) * rng.uniform(0.2, 1, (*bins.shape, 1))
    noisy: Floats = (peak + rng.normal(0, 0.02, peak.shape)).astype(np.float32)
    return noisy


# --- the plain implementation -------------------------------------------------------------------------------


def plain_crops(
    image: Pixels, boxes: NDArray[Any], spec: CropInput, padding: float = PADDING
) -> tuple[Floats, Floats]:
    """Crops (N, 3, h, w) and their affines (N, 2, 3), which lay three corners of a box on the crop's."""
    mean, std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
    made, affines = [], []
    for x0, y0, x1, y1 in boxes.astype(np.float64):
        width, height = (x1 - x0) * padding, (y1 - y0) * padding
        width = max(width, height * spec.width / spec.height)
        height = max(height, width * spec.height / spec.width)
        left, top = (x0 + x1 - width) / 2, (y0 + y1 - height) / 2
        source = np.array([(left, top), (left + width, top), (left, top + height)], np.float32)
        target = np.array([(0, 0), (spec.width, 0), (0, spec.height)], np.float32)
        affine = cv2.getAffineTransform(source, target).astype(np.float32)
        crop = cv2.warpAffine(image, affine, (spec.width, spec.height), flags=cv2.INTER_LINEAR)
        if spec.color == "rgb":
            crop = cv2.cvtColor(crop, cv2.COLOR_BGR2RGB)
        made.append(((crop.astype(np.float32) - mean) / std).transpose(2, 0, 1))
        affines.append(affine)
    shape = (0, 3, spec.height, spec.width)
    crops = np.ascontiguousarray(np.stack(made)) if made else np.zeros(shape, np.float32)
    return crops, np.array(affines, np.float32).reshape(-1, 2, 3)


def plain_decode(simcc_x: Floats, simcc_y: Floats, split: float) -> tuple[Floats, Floats]:
    """Keypoints (N, K, 2) in crop pixels and scores (N, K): the specification of `decode_simcc`."""
    n, k = simcc_x.shape[:2]
    keypoints, scores = np.full((n, k, 2), np.nan, np.float32), np.zeros((n, k), np.float32)
    for person in range(n):
        for joint in range(k):
            x, y = simcc_x[person, joint], simcc_y[person, joint]
            score = min(x.max(), y.max())
            if score > 0:
                keypoints[person, joint] = x.argmax() / split, y.argmax() / split
                scores[person, joint] = score
    return keypoints, scores


def plain_oks(
    a: NDArray[Any], b: NDArray[Any], area: float, sigmas: Sequence[float], visible: NDArray[np.bool_]
) -> float:
    """Of two poses (K, 2): the specification of `oks`."""
    alike = 0.0
    for (ax, ay), (bx, by), sigma, counts in zip(a.tolist(), b.tolist(), sigmas, visible, strict=True):
        if counts and not math.isnan(ax + ay + bx + by):
            squared = (ax - bx) ** 2 + (ay - by) ** 2
            alike += math.exp(-squared / (2 * (area + math.ulp(1)) * (2 * sigma) ** 2))
    return alike / max(int(visible.sum()), 1)


def plain_oks_nms(
    keypoints: Floats,
    scores: Floats,
    score: Floats,
    areas: Floats,
    sigmas: Sequence[float],
    threshold: float = 0.9,
) -> list[int]:
    """The kept people, best first: the specification of `oks_nms`."""
    kept: list[int] = []
    for i in sorted(range(len(score)), key=lambda i: -score[i]):
        if all(
            plain_oks(
                keypoints[i],
                keypoints[j],
                (float(areas[i]) + float(areas[j])) / 2,
                sigmas,
                (scores[i] > 0) & (scores[j] > 0),
            )
            <= threshold
            for j in kept
        ):
            kept.append(i)
    return kept


# --- the measurement ----------------------------------------------------------------------------------------


def _plain(case: Case) -> tuple[list[float], Sequence[int]]:
    """Milliseconds of each stage and together, and who was kept."""
    clock = [time.perf_counter()]
    _, affines = plain_crops(case.image, case.boxes, CROP)
    clock.append(time.perf_counter())
    keypoints, scores = plain_decode(case.simcc_x, case.simcc_y, SPLIT)
    keypoints = to_source(keypoints, affines)
    clock.append(time.perf_counter())
    kept = plain_oks_nms(keypoints, scores, case.score, case.areas, WHOLEBODY133.sigmas)
    clock.append(time.perf_counter())
    return _milliseconds(clock), kept


def _runtime(cropper: Cropper, case: Case) -> tuple[list[float], Sequence[int]]:
    """The same of the runtime."""
    clock = [time.perf_counter()]
    affines = crop_affines(case.boxes, (CROP.width, CROP.height), PADDING)
    cropper(case.image, affines)
    clock.append(time.perf_counter())
    keypoints, scores = decode_simcc(case.simcc_x, case.simcc_y, SPLIT)
    keypoints = to_source(keypoints, affines)
    clock.append(time.perf_counter())
    kept = oks_nms(keypoints, scores, case.score, case.areas, WHOLEBODY133.sigmas)
    clock.append(time.perf_counter())
    return _milliseconds(clock), kept.tolist()


def _milliseconds(clock: Sequence[float]) -> list[float]:
    return [*(np.diff(clock) * 1e3).tolist(), (clock[-1] - clock[0]) * 1e3]


def main() -> None:
    parser = argparse.ArgumentParser(description="Time crops, decoding and pose suppression.")
    parser.add_argument("--people", type=int, nargs="+", default=[1, 8, 16], help="in the picture")
    parser.add_argument(
        "--repeats", type=int, default=50, help="of the runtime's, five to each of the plain one"
    )
    options = parser.parse_args()
    print(Machine.here())
    print(f"{'people':>6}  {'stage':10}{'plain ms':>18}{'runtime ms':>18}{'ratio':>8}")
    print(f"{'':16}{'(min / median)':>20}{'(min / median)':>18}{'(min)':>8}")
    for people in options.people:
        print("\n".join(_measure(crowd(people), options.repeats)))


def _measure(case: Case, repeats: int) -> list[str]:
    cropper = Cropper(CROP)
    _compare(cropper, case)
    plain_ms, fast_ms = [], []
    for i in range(repeats):
        fast_ms.append(_runtime(cropper, case)[0])
        if i % 5 == 0:
            plain_ms.append(_plain(case)[0])
    lines = []
    for stage, plain, fast in zip(STAGES, np.transpose(plain_ms), np.transpose(fast_ms), strict=True):
        times = "".join(f"{f'{t.min():.2f} / {np.median(t):.2f}':>18}" for t in (plain, fast))
        lines.append(f"{len(case.boxes):6}  {stage:10}{times}{plain.min() / fast.min():7.1f}x")
    return lines


def _compare(cropper: Cropper, case: Case) -> None:
    """Raises AssertionError where two implementations differ."""
    expected, affines = plain_crops(case.image, case.boxes, CROP)
    np.testing.assert_array_equal(cropper(case.image, affines), expected)
    for got, wanted in zip(
        decode_simcc(case.simcc_x, case.simcc_y, SPLIT),
        plain_decode(case.simcc_x, case.simcc_y, SPLIT),
        strict=True,
    ):
        np.testing.assert_array_equal(got, wanted)
    assert _runtime(cropper, case)[1] == _plain(case)[1], "other people are kept"


if __name__ == "__main__":
    main()
