"""Bodies, hands and faces found apart become people: the last step of DOPE (ECCV 2020).

A hand and a wrist of its side, or a face and a head, belong together if each is the other's nearest and they
are no further apart than the hand or face is large. Whoever stays alone is a person of that part alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.boxes import clip_boxes, grow_boxes
from wholebody.runtime.kernels.proposals import Detections
from wholebody.runtime.people import Floats, People
from wholebody.runtime.skeletons import DOPE

__all__ = ["assemble"]

BODY, FACE = DOPE.parts["body"], DOPE.parts["face"]
SIDES = ((True, DOPE.parts["right_hand"], 6), (False, DOPE.parts["left_hand"], 7))  # is_right, part, wrist
HEAD_TOP = 12  # of a body
HAND_WRIST = 0
CHIN, BROWS = 16, slice(33, 43)  # of a face

MARGIN = 0.1  # by which boxes of hands and faces grow on every side, as published
# A body's head joint is the crown, but a face's landmarks end at the brows: the published test, whether the
# joint lies in the face's box, misses most heads. The crown is expected beyond the brows by this share of the
# way from chin to brows: 10 cm of 13 on an upright adult, less where the skull recedes from view.
CROWN_BEYOND_BROWS = 0.7

Match = NDArray[np.intp]  # the body of each hand or face, -1 for none


def assemble(body: Detections, hand: Detections, face: Detections, image_hw: tuple[int, int]) -> People:
    """People of skeleton DOPE in a picture of (height, width): bodies, then lone hands, then lone faces.

    A body's 2D wrist moves to its hand's; its 3D wrist stays, and the hand's is put there. A face is put
    beside the 3D head, at the body's scale. Bodies' 3D axes turn from DOPE's (x left, y up) to the camera's.
    Keypoint scores are their part's, 1 at most; a person's score is the body's own, or the lone part's.
    """
    of_hand, of_face = _match_hands(body, hand), _match_faces(body, face)
    lone_hand, lone_face = np.flatnonzero(of_hand < 0), np.flatnonzero(of_face < 0)
    score = np.concatenate([body.score, hand.score[lone_hand], face.score[lone_face]])
    hand_row, face_row = of_hand.copy(), of_face.copy()
    hand_row[lone_hand] = len(body) + np.arange(len(lone_hand))
    face_row[lone_face] = len(score) - len(lone_face) + np.arange(len(lone_face))

    sheet = _Sheet(len(score))
    body3d = body.pose3d * np.array([-1, -1, 1], np.float32)
    sheet.write(np.arange(len(body)), BODY, body.pose2d, body3d, body.score)
    sheet.write(face_row, FACE, face.pose2d, _place_faces(body, body3d, face, of_face), face.score)
    hand3d = _place_hands(body3d, hand, of_hand)
    for is_right, part, wrist in SIDES:
        side = np.flatnonzero(_right(hand) == is_right)
        sheet.write(hand_row[side], part, hand.pose2d[side], hand3d[side], hand.score[side])
        attached = side[of_hand[side] >= 0]
        sheet.pose2d[of_hand[attached], wrist] = hand.pose2d[attached, HAND_WRIST]
    boxes = clip_boxes(_extent_of_seen(sheet.pose2d), image_hw)
    return People(sheet.pose2d, sheet.scores, sheet.pose3d, boxes, score, DOPE)


class _Sheet:
    """The keypoints of N people, none of which are seen before they are written."""

    def __init__(self, people: int) -> None:
        self.pose2d = np.full((people, len(DOPE), 2), np.nan, np.float32)
        self.pose3d = np.full((people, len(DOPE), 3), np.nan, np.float32)
        self.scores = np.zeros((people, len(DOPE)), np.float32)

    def write(self, rows: Match, part: slice, pose2d: Floats, pose3d: Floats, score: Floats) -> None:
        if not len(rows):
            return
        self.pose2d[rows, part] = pose2d
        self.pose3d[rows, part] = pose3d
        self.scores[rows, part] = np.minimum(score, 1)[:, None]


# --- who belongs to whom ------------------------------------------------------------------------------------


def _match_hands(body: Detections, hand: Detections) -> Match:
    match = np.full(len(hand), -1, np.intp)
    for is_right, _, wrist in SIDES:
        side = np.flatnonzero(_right(hand) == is_right)
        match[side] = _match(hand.pose2d[side, HAND_WRIST], hand.box[side], body.pose2d[:, wrist])
    return match


def _match_faces(body: Detections, face: Detections) -> Match:
    if not (len(face) and len(body)):
        return np.full(len(face), -1, np.intp)
    brows = face.pose2d[:, BROWS].mean(axis=1)
    crown = brows + np.float32(CROWN_BEYOND_BROWS) * (brows - face.pose2d[:, CHIN])
    return _match(crown, face.box, body.pose2d[:, HEAD_TOP])


def _match(points: Floats, boxes: Floats, joints: Floats) -> Match:
    """(P,) the joint (B, 2) mutually nearest to each point (P, 2), within the longer side of its box."""
    if not (len(points) and len(joints)):
        return np.full(len(points), -1, np.intp)
    grown = grow_boxes(boxes, MARGIN)
    reach = (grown[:, 2:] - grown[:, :2]).max(axis=1)
    distance = np.linalg.norm(points[:, None] - joints[None], axis=2)
    distance[distance > reach[:, None]] = np.inf
    rows, nearest = np.arange(len(points)), distance.argmin(axis=1)
    mutual = (distance.argmin(axis=0)[nearest] == rows) & np.isfinite(distance[rows, nearest])
    return np.where(mutual, nearest, -1)


def _right(hand: Detections) -> NDArray[np.bool_]:
    if hand.is_right is None:
        raise ValueError("assemble: the hands do not say which are right hands")
    return hand.is_right


# --- one person's 3D frame: metres, x right, y down, z away -------------------------------------------------


def _place_hands(body3d: Floats, hand: Detections, match: Match) -> Floats:
    """(H, 21, 3): an attached hand's wrist is its body's wrist; a lone hand's origin is its centre."""
    placed: Floats = hand.pose3d - hand.pose3d.mean(axis=1, keepdims=True)
    for is_right, _, wrist in SIDES:
        at = (match >= 0) & (_right(hand) == is_right)
        placed[at] += (body3d[match[at], wrist] - placed[at, HAND_WRIST])[:, None]
    return placed


def _place_faces(body: Detections, body3d: Floats, face: Detections, match: Match) -> Floats:
    """(F, 84, 3): an attached face's centre is where it is seen at its body's scale, as deep as the head."""
    placed: Floats = face.pose3d - face.pose3d.mean(axis=1, keepdims=True)
    at = np.flatnonzero(match >= 0)
    if not len(at):
        return placed
    owner = match[at]
    scale, middle2d, middle3d = _weak_perspective(body.pose2d[owner], body3d[owner, :, :2])
    centre = middle3d + scale[:, None] * (face.pose2d[at].mean(axis=1) - middle2d)
    placed[at, :, :2] += centre[:, None]
    placed[at, :, 2] += body3d[owner, HEAD_TOP, 2, None]
    return placed


def _weak_perspective(pixels: Floats, metres: Floats) -> tuple[Floats, Floats, Floats]:
    """(B,) metres per pixel, (B, 2) middle in pixels, (B, 2) in metres: least squares over joints.

    The scale is 0 where the joints have no extent or the two are turned against each other.
    """
    middle2d, middle3d = pixels.mean(axis=1), metres.mean(axis=1)
    away2d, away3d = pixels - middle2d[:, None], metres - middle3d[:, None]
    spread: Floats = (away2d**2).sum(axis=(1, 2))
    shared: Floats = (away2d * away3d).sum(axis=(1, 2)).clip(min=0)
    scale: Floats = np.divide(shared, spread, out=np.zeros_like(shared), where=spread > 0)
    return scale, middle2d, middle3d


def _extent_of_seen(pose2d: Floats) -> Floats:
    """(N, 4) tight boxes around the keypoints that are not NaN, of which everybody has some."""
    if not len(pose2d):
        return np.zeros((0, 4), np.float32)
    return np.concatenate([np.fmin.reduce(pose2d, axis=1), np.fmax.reduce(pose2d, axis=1)], axis=1)
