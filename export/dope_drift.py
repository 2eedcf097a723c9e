"""A DOPE student against PyTorch: the same input tensors through both, proposal by proposal.

Near-ties between scores make two correct runtimes choose different proposals, or order them differently. So
proposals are matched by their boxes first; what cannot be matched is counted, what can is compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wholebody.export.certificate import Budget, Certificate, Matching, PartDrift, Spread
from wholebody.export.dope_checkpoint import DopeCheckpoint
from wholebody.export.people_drift import same_people
from wholebody.export.reference import PyTorch
from wholebody.runtime.backends.backend import Backend
from wholebody.runtime.errors import ArtefactError, SourceError
from wholebody.runtime.geometry import Letterbox, letterbox, preprocess
from wholebody.runtime.media import Frame
from wholebody.runtime.people import Floats
from wholebody.runtime.spec import StudentSpec

__all__ = ["compare"]

BOX_BUDGETS = 4  # boxes within this many pixel budgets of each other are the same proposal

Outputs = Mapping[str, Floats]
Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]


def compare(
    student: Backend,
    reference: DopeCheckpoint,
    spec: StudentSpec,
    pictures: Iterable[Frame],
    budget: Budget,
) -> Certificate:
    """The drift of any backend's answers from PyTorch's. Raises SourceError where there is no picture."""
    torch = PyTorch(reference, (spec.input.height, spec.input.width), _proposals(student))
    thresholds = {part: _threshold(spec, part) for part in spec.parts}
    drifts: list[_PictureDrift] = []
    for picture in pictures:
        box = letterbox((picture.image.shape[0], picture.image.shape[1]), spec.input)
        image = preprocess(picture.image, box, spec.input)
        inputs = {"image": image, "size": np.array(box.size, np.float32)}
        expected, got = _run(torch, inputs), _run(student, inputs)
        people = same_people(expected, got, spec, picture.image)
        expected, got = _to_source(expected, box), _to_source(got, box)
        name, tolerance = Path(picture.name).name, BOX_BUDGETS * budget.px
        drifts.append(_measure(expected, got, thresholds, tolerance, name, people))
    if not drifts:
        raise SourceError("no picture to measure the drift on; give at least one")
    return Certificate(
        reference={"source": reference.source, "sha256": reference.sha256, "bn_eps": reference.config.bn_eps,
                   "runtime": torch.name},
        student=student.name,
        pictures=len(drifts),
        people=_sum(drift.people for drift in drifts),
        proposals=_sum(drift.proposals for drift in drifts),
        parts={part: _join(drifts, part) for part in spec.parts},
        budget=budget,
    )  # fmt: skip


def _proposals(student: Backend) -> int:
    count = next(output.shape[0] for output in student.outputs if output.name == "boxes")
    if count is None:
        raise ArtefactError(f"{student.name}: the number of proposals is not fixed; export the student again")
    return count


def _threshold(spec: StudentSpec, part: str) -> float:
    """The least score of a candidate, as the pose-proposal integration takes it."""
    score_th = spec.parts[part].ppi.get("score_th")
    return 0.1 / spec.parts[part].classes if score_th is None else float(score_th)


def _run(backend: Backend, inputs: Mapping[str, Floats]) -> Outputs:
    """One picture's outputs by name, in FP32 and network pixels."""
    answer = backend(*(inputs[spec.name].astype(spec.dtype, copy=False) for spec in backend.inputs))
    names = (spec.name for spec in backend.outputs)
    return {name: np.asarray(array, np.float32) for name, array in zip(names, answer, strict=True)}


def _to_source(outputs: Outputs, box: Letterbox) -> Outputs:
    """Boxes and 2D poses in pixels of the source picture."""
    scale = np.array(box.to_source, np.float32)
    flat = {name: array * scale for name, array in outputs.items() if name.endswith("_pose2d")}
    return {**outputs, **flat, "boxes": outputs["boxes"] * np.tile(scale, 2)}


# --- one picture --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _PictureDrift:
    """Drifts of one picture's pairs, per part and measure: (P,) each, and (P,) bool whether a candidate."""

    name: str
    people: Matching
    proposals: Matching
    candidates: Mapping[str, Matching]
    pairs: Mapping[str, Mapping[str, Floats]]
    is_candidate: Mapping[str, Mask]


def _measure(
    expected: Outputs,
    got: Outputs,
    thresholds: Mapping[str, float],
    tolerance: float,
    name: str,
    people: Matching,
) -> _PictureDrift:
    ours, theirs = _real(expected["boxes"]), _real(got["boxes"])
    a, b = _match(expected["boxes"][ours], got["boxes"][theirs], tolerance)
    pairs: dict[str, Mapping[str, Floats]] = {}
    candidates: dict[str, Matching] = {}
    is_candidate: dict[str, Mask] = {}
    for part, threshold in thresholds.items():
        scores = expected[f"{part}_scores"][ours], got[f"{part}_scores"][theirs]
        high, also_high = (_reaches(s[:, 1:], threshold) for s in scores)
        is_candidate[part] = (high[a] | also_high[b]).ravel()
        lost, gained = (int(h.sum() - h[i].sum()) for h, i in ((high, a), (also_high, b)))
        candidates[part] = Matching(int(is_candidate[part].sum()), lost, gained)
        pairs[part] = _drift(expected, got, part, ours[a], theirs[b])
    proposals = Matching(len(a), len(ours) - len(a), len(theirs) - len(b))
    return _PictureDrift(name, people, proposals, candidates, pairs, is_candidate)


def _real(boxes: Floats) -> Indices:
    """The rows that hold a proposal; a NaN is none."""
    x0, y0, x1, y1 = boxes.T
    return np.flatnonzero((x1 > x0) & (y1 > y0))


def _match(a: Floats, b: Floats, tolerance: float) -> tuple[Indices, Indices]:
    """Rows of a and b that are each other's nearest box, no coordinate further apart than the tolerance."""
    if not len(a) or not len(b):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    apart = np.abs(a[:, None] - b[None]).max(axis=2)
    nearest, back = apart.argmin(axis=1), apart.argmin(axis=0)
    rows = np.arange(len(a))
    kept = np.flatnonzero((back[nearest] == rows) & (apart[rows, nearest] <= tolerance))
    return kept, nearest[kept]


def _reaches(scores: Floats, threshold: float) -> Mask:
    """Where a score counts; NaN does, so that it is seen."""
    low: Mask = scores < np.float32(threshold)
    return ~low


def _drift(expected: Outputs, got: Outputs, part: str, a: Indices, b: Indices) -> dict[str, Floats]:
    """(P,) drift of every (matched proposal, class) pair: of its worst joint, and of its score."""
    with np.errstate(invalid="ignore", over="ignore"):  # infinities give NaN, and NaN fails
        scores = np.abs(expected[f"{part}_scores"][a, 1:] - got[f"{part}_scores"][b, 1:])
        flat, solid = (
            np.linalg.norm(expected[f"{part}_{pose}"][a] - got[f"{part}_{pose}"][b], axis=3).max(axis=2)
            for pose in ("pose2d", "pose3d")
        )
    return {"pixels": flat.ravel(), "millimetres": solid.ravel() * 1000, "score": scores.ravel()}


# --- all pictures -------------------------------------------------------------------------------------------


def _join(drifts: list[_PictureDrift], part: str) -> PartDrift:
    names = [drift.name for drift in drifts]
    by_measure: dict[str, list[tuple[Floats, Mask]]] = defaultdict(list)
    for drift in drifts:
        for measure, values in drift.pairs[part].items():
            by_measure[measure].append((values, drift.is_candidate[part]))
    return PartDrift(
        candidates=_sum(drift.candidates[part] for drift in drifts),
        of_candidates={m: Spread.of([v[c] for v, c in both], names) for m, both in by_measure.items()},
        of_pairs={m: Spread.of([v for v, _ in both], names) for m, both in by_measure.items()},
    )


def _sum(matchings: Iterable[Matching]) -> Matching:
    total = Matching()
    for m in matchings:
        total = Matching(total.matched + m.matched, total.lost + m.lost, total.gained + m.gained)
    return total
