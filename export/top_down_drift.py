"""A top-down student against its PyTorch reference, on the same crops of people.

A keypoint of SimCC goes to the best of its bins, so it drifts by nothing or by half a pixel and more. Where
the reference thinks as highly of both bins, neither is wrong: such ties are counted apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wholebody.export.certificate import Budget, Spread
from wholebody.export.crop_certificate import CropCertificate, KeypointDrift, Ties
from wholebody.export.openmmlab import RtmPoseCheckpoint
from wholebody.export.person_boxes import Boxes
from wholebody.export.reference import PyTorchCrops
from wholebody.runtime.backends.backend import Backend
from wholebody.runtime.errors import SourceError
from wholebody.runtime.kernels.crop import crop_affines, crops
from wholebody.runtime.media import Frame
from wholebody.runtime.people import Floats
from wholebody.runtime.skeletons import SKELETONS
from wholebody.runtime.spec import TopDownSpec

__all__ = ["compare_crops"]

CONFIDENT = 0.3  # the least score at which mmpose and its ports show a keypoint
TIE = 1e-3  # of the height of a keypoint's logits: bins no further apart are as good
BATCH = 8  # crops at a time

Mask = NDArray[np.bool_]


def compare_crops(
    student: Backend,
    reference: RtmPoseCheckpoint,
    spec: TopDownSpec,
    pictures: Iterable[Frame],
    boxes: Boxes,
    budget: Budget,
) -> CropCertificate:
    """The drift of any backend's answers from PyTorch's; `boxes` gives a picture's people, (N, 4) pixels.

    Raises SourceError where there is no picture, or nobody in any.
    """
    torch = PyTorchCrops(reference)
    drifts, count = [], 0
    for picture in pictures:
        count += 1
        if len(people := boxes(picture)):
            drifts.append(_measure(torch, student, spec, picture, people))
    if not drifts:
        what = f"nobody in {count} pictures" if count else "no picture"
        raise SourceError(f"{what} to measure the drift on; give pictures of people")
    return CropCertificate(
        reference={"source": reference.source, "sha256": reference.sha256,
                   "bn_eps": reference.config.bn_eps, "runtime": torch.name},
        student=student.name,
        pictures=count,
        crops=sum(len(drift.score) for drift in drifts),
        parts={part: _join(drifts, s) for part, s in SKELETONS[spec.skeleton].parts.items()},
        budget=budget,
    )  # fmt: skip


# --- one picture --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _PictureDrift:
    """One picture's keypoints, (N, K) each: drifts, whether bins tie, whether a network is confident."""

    name: str
    pixels: Floats
    score: Floats
    tied: Mask
    confident: Mask


def _measure(
    reference: Backend, student: Backend, spec: TopDownSpec, picture: Frame, boxes: Floats
) -> _PictureDrift:
    affines = crop_affines(boxes, (spec.input.width, spec.input.height), spec.padding)
    batches = []
    for start in range(0, len(affines), BATCH):
        image = crops(picture.image, affines[start : start + BATCH], spec.input)
        batches.append(_drift(_run(reference, image), _run(student, image), spec.split))
    return _PictureDrift(
        Path(picture.name).name, *(np.concatenate(parts) for parts in zip(*batches, strict=True))
    )


def _run(backend: Backend, image: Floats) -> Mapping[str, Floats]:
    """The logits by name, in FP32."""
    answer = backend(image.astype(backend.inputs[0].dtype, copy=False))
    names = (output.name for output in backend.outputs)
    return {name: np.asarray(array, np.float32) for name, array in zip(names, answer, strict=True)}


def _drift(
    expected: Mapping[str, Floats], got: Mapping[str, Floats], split: float
) -> tuple[Floats, Floats, Mask, Mask]:
    """Of one batch, what `_PictureDrift` holds."""
    axes = [_axis(expected[name], got[name]) for name in ("simcc_x", "simcc_y")]
    apart = np.hypot(*(axis.apart for axis in axes)).astype(np.float32) / np.float32(split)
    scores = np.minimum(axes[0].expected, axes[1].expected), np.minimum(axes[0].got, axes[1].got)
    tied = (apart > 0) & axes[0].alike & axes[1].alike
    with np.errstate(invalid="ignore"):  # infinities give NaN, and NaN fails
        score = np.abs(scores[0] - scores[1])
        unsure = (scores[0] < CONFIDENT) & (scores[1] < CONFIDENT)
    confident = ~unsure | ~np.isfinite(score)  # what is no number must be seen
    return apart, score, tied, confident


@dataclass(frozen=True)
class _Axis:
    """(N, K) each: bins apart, whether the reference thinks the two alike, both networks' best logits."""

    apart: NDArray[np.intp]
    alike: Mask
    expected: Floats
    got: Floats


def _axis(expected: Floats, got: Floats) -> _Axis:
    ours, theirs = (logits.argmax(axis=2)[..., None] for logits in (expected, got))
    best, other, found = (
        np.take_along_axis(logits, bins, axis=2)[..., 0]
        for logits, bins in ((expected, ours), (expected, theirs), (got, theirs))
    )
    alike = best - other <= TIE * (best - expected.min(axis=2))
    return _Axis(np.abs(ours - theirs)[..., 0], alike, best, found)


# --- all pictures -------------------------------------------------------------------------------------------


def _join(drifts: list[_PictureDrift], part: slice) -> KeypointDrift:
    confident = [drift.confident[:, part] for drift in drifts]
    everyone = [np.ones_like(mask) for mask in confident]
    count = sum(int(mask.sum()) for mask in confident)
    ties = np.concatenate(
        [
            drift.pixels[:, part][drift.tied[:, part] & mask]
            for drift, mask in zip(drifts, confident if count else everyone, strict=True)
        ]
    )
    return KeypointDrift(
        confident=count,
        ties=Ties(len(ties), float(ties.max(initial=0))),
        of_confident=_spreads(drifts, part, confident),
        of_all=_spreads(drifts, part, everyone),
    )


def _spreads(drifts: list[_PictureDrift], part: slice, chosen: list[Mask]) -> dict[str, Spread]:
    names = [drift.name for drift in drifts]
    pixels = [d.pixels[:, part][mask & ~d.tied[:, part]] for d, mask in zip(drifts, chosen, strict=True)]
    scores = [d.score[:, part][mask] for d, mask in zip(drifts, chosen, strict=True)]
    return {"pixels": Spread.of(pixels, names), "score": Spread.of(scores, names)}
