"""COCO's and COCO-WholeBody's figures for the keypoints that a student and the annotations both have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.datasets.coco import CocoDataset, CocoPicture
from wholebody.benchmarks.datasets.dataset import Metric, Picture, Tally
from wholebody.benchmarks.metrics.coco_ap import FoundPeople, Joints, TruePeople, coco_average_precision
from wholebody.benchmarks.metrics.coco_matching import rank_people
from wholebody.benchmarks.metrics.detector_recall import FOUND_IOU, detector_recall
from wholebody.benchmarks.metrics.matching import UNMATCHED, match
from wholebody.benchmarks.metrics.oks import oks
from wholebody.benchmarks.metrics.ranking import RANKED, Ranking
from wholebody.runtime.boxes import box_iou
from wholebody.runtime.errors import ArtefactError, SourceError
from wholebody.runtime.media import Image, read_image
from wholebody.runtime.people import Floats, People
from wholebody.runtime.skeletons import COCO17, DOPE, DOPE_TO_WHOLEBODY, WHOLEBODY133, Skeleton

__all__ = ["CocoProtocol", "judged_parts"]

Cells = tuple[NDArray[np.float64], NDArray[np.float64]]
TITLES = {"ap": "AP", "ap_50": "AP, OKS 0.5", "ap_75": "AP, OKS 0.75", "ar": "AR"}
HANDS = ("left_hand", "right_hand")
OKS_ABOVE = 1e-6  # DOPE's people: as alike as that, at least
NOTE = (
    "AP and AR are faster-coco-eval's, at OKS 0.50 to 0.95, at most 20 people a photograph, each part over "
    "its own keypoints with the area of the person's segment and the person's score; crowds and people "
    "without a labelled keypoint in the part are ignored. Mean OKS: of all who are judged, who is not found "
    "counts 0."
)
OF_DOPE = (
    "DOPE has no nose, eyes, ears and feet: `limbs` are the 12 joints from shoulders and hips on, `shared` "
    "all that both have; neither is COCO's body or whole, and not to be held against published figures."
)
OF_DETECTOR = (
    "The boxes are those of the detector's own operating point, which costs AP: none of a lower score follow."
)


def judged_parts(student: Skeleton, annotated: Skeleton) -> dict[str, Joints]:
    """Which keypoints of the annotations are judged together, by name.

    Raises ArtefactError for a student that has none of them.
    """
    if student is DOPE:
        return _dope_parts(annotated)
    if student not in (COCO17, WHOLEBODY133):
        raise ArtefactError(
            f"the student's keypoints are {student.name}; photographs of COCO judge {COCO17.name}, "
            f"{WHOLEBODY133.name} and {DOPE.name}"
        )
    common = min(student, annotated, key=len)
    parts: dict[str, Joints] = dict(common.parts)
    return parts if len(parts) == 1 else {**parts, "whole": slice(0, len(common))}


def _dope_parts(annotated: Skeleton) -> dict[str, Joints]:
    shared = np.array([joint for _, joint in DOPE_TO_WHOLEBODY if joint < len(annotated)], np.intp)
    shared.sort()
    parts: dict[str, Joints] = {"limbs": shared[shared < len(COCO17)]}
    for name in ("face", *HANDS) if annotated is WHOLEBODY133 else ():
        where = WHOLEBODY133.parts[name]
        parts[name] = shared[(shared >= where.start) & (shared < where.stop)]
    return parts if len(parts) == 1 else {**parts, "shared": shared}


@dataclass(frozen=True, eq=False)
class CocoProtocol:
    """A `Dataset` of photographs for students of one skeleton.

    detected   whether the boxes are a detector's; its recall is measured then, too
    """

    photographs: CocoDataset
    student: Skeleton
    name: str = "coco"
    detected: bool = False

    @property
    def sha256(self) -> str:
        return self.photographs.sha256

    @property
    def skeleton(self) -> Skeleton:
        return self.photographs.skeleton

    @property
    def pictures(self) -> Sequence[Picture]:
        return self.photographs.pictures

    @property
    def means(self) -> Mapping[str, Sequence[str]]:
        """COCO-WholeBody publishes one figure for hands."""
        return {"hands": HANDS} if HANDS[0] in self.parts else {}

    @cached_property
    def parts(self) -> Mapping[str, Joints]:
        return judged_parts(self.student, self.skeleton)

    @property
    def metrics(self) -> Sequence[Metric]:
        """The last part, the whole, comes first; mean OKS of it ranks the pictures."""
        names = list(self.parts)
        ranked = [names[-1], *names[:-1], *self.means]
        return [
            *(Metric(f"{p}/ap", f"{_said(p)}: AP", "share", "higher") for p in ranked),
            *(Metric(f"{p}/ar", f"{_said(p)}: AR", "share", "higher") for p in ranked),
            *(
                Metric(f"{p}/{f}", f"{_said(p)}: {TITLES[f]}", "share", "higher")
                for f in ("ap_50", "ap_75")
                for p in ranked
            ),
            *(
                Metric(f"{p}/oks", f"{_said(p)}: mean OKS", "share", "higher")
                for p in [names[-1], *names[:-1]]
            ),
            *(DETECTOR_METRICS if self.detected else ()),
        ]

    @property
    def notes(self) -> str:
        more = [OF_DOPE] if self.student is DOPE else []
        return " ".join([NOTE, *more, *([OF_DETECTOR] if self.detected else [])])

    def require(self, skeleton: Skeleton, *, with_3d: bool) -> None:
        """Raise ArtefactError for a skeleton that has no keypoint of COCO."""
        judged_parts(skeleton, self.skeleton)

    def image(self, picture: Picture) -> Image:
        """A photograph. Raises SourceError where it is not the one that was annotated."""
        assert isinstance(picture, CocoPicture)
        image = read_image(picture.path)
        height, width = image.shape[:2]
        if (width, height) != (picture.width, picture.height):
            raise SourceError(
                f"{picture.path} is {width} x {height}, but {picture.width} x {picture.height} was "
                "annotated: give the folder of the photographs as they were published"
            )
        return image

    def rank(self, people: People, picture: Picture) -> Mapping[str, Ranking]:
        """By part."""
        truth, found = self._both(people, picture)
        return {
            name: rank_people(truth, found, self.skeleton.sigmas, part) for name, part in self.parts.items()
        }

    def evaluate(self, people: Sequence[People]) -> Mapping[str, float]:
        """AP and AR as faster-coco-eval computes them."""
        both = [self._both(found, picture) for found, picture in zip(people, self.pictures, strict=True)]
        truth, found = [t for t, _ in both], [f for _, f in both]
        figures: dict[str, float] = {}
        for name, part in self.parts.items():
            computed = coco_average_precision(truth, found, self.skeleton.sigmas, part)
            figures |= {f"{name}/{figure}": getattr(computed, figure) for figure in RANKED}
        for name, parts in self.means.items():
            for figure in RANKED:
                figures[f"{name}/{figure}"] = float(np.mean([figures[f"{p}/{figure}"] for p in parts]))
        return figures

    def tally(self, people: People, picture: Picture) -> Tally:
        """Mean OKS of every part, and what the detector found."""
        truth, found = self._both(people, picture)
        own = self._owners(people, truth, found)
        some = np.flatnonzero(own != UNMATCHED)
        tally: dict[str, Cells] = {}
        for name, part in self.parts.items():
            values = np.zeros(len(truth.area))
            alike = oks(
                found.keypoints[:, part],
                truth.keypoints[:, part],
                truth.labelled[:, part],
                truth.area,
                np.asarray(self.skeleton.sigmas)[part].tolist(),
            )
            values[own[some]] = alike[some, own[some]]
            judged = truth.judged(part)
            tally[f"{name}/oks"] = np.array([values[judged].sum()]), np.array([float(judged.sum())])
        return tally | (_detected(truth, people) if self.detected else {})

    def _both(self, people: People, picture: Picture) -> tuple[TruePeople, FoundPeople]:
        assert isinstance(picture, CocoPicture)
        return picture.people, FoundPeople(self._keypoints(people), np.nan_to_num(people.score))

    def _keypoints(self, people: People) -> Floats:
        """(P, K, 2) in the order of the annotations; NaN: not seen, or none of the student's keypoints."""
        seen = np.where((people.scores > 0)[..., None], people.keypoints, np.nan)
        found = np.full((len(people), len(self.skeleton), 2), np.nan, np.float32)
        if self.student is DOPE:
            ours, theirs = np.array([pair for pair in DOPE_TO_WHOLEBODY if pair[1] < len(self.skeleton)]).T
            found[:, theirs] = seen[:, ours]
        else:
            common = min(len(self.student), len(self.skeleton))
            found[:, :common] = seen[:, :common]
        return found

    def _owners(self, people: People, truth: TruePeople, found: FoundPeople) -> NDArray[np.intp]:
        """(P,) which true person each is: by the boxes it was asked for, or, of DOPE, by the pose itself."""
        if self.student is not DOPE:
            shared = box_iou(people.boxes, truth.boxes)
            return match(np.where(truth.crowd, -1, shared), found.score, FOUND_IOU)
        *_, whole = self.parts.values()
        sigmas = np.asarray(self.skeleton.sigmas)[whole].tolist()
        alike = oks(
            found.keypoints[:, whole], truth.keypoints[:, whole], truth.labelled[:, whole], truth.area, sigmas
        )
        return match(np.where(truth.crowd, -1, alike), found.score, OKS_ABOVE)


DETECTOR_METRICS = (
    Metric("boxes/covered", f"people with a box on them, IoU {FOUND_IOU}", "share", "higher"),
    Metric("boxes/found", "people with a box of their own", "share", "higher"),
)


def _detected(truth: TruePeople, people: People) -> dict[str, Cells]:
    found = detector_recall(truth, people.boxes, people.score)
    count = np.array([float(found.people)])
    return {
        "boxes/covered": (np.array([float(found.covered)]), count),
        "boxes/found": (np.array([float(found.found)]), count),
    }


def _said(part: str) -> str:
    return part.replace("_", " ")
