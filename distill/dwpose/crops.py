"""Crops of one person out of a rendered scene, as a detector and the runtime would cut them, and worse.

A crop is cut by the runtime's own affine; scaling, moving, turning and mirroring are composed into it, so
that the picture is sampled once and the truth follows exactly.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.synthetic.people_boxes import LEAST_SIDE, inside, people_boxes, worth_a_crop
from wholebody.distill.scenes import Sample
from wholebody.runtime.kernels.crop import crop_affines
from wholebody.runtime.skeletons import WHOLEBODY133

__all__ = ["ABSENT", "HIDDEN", "VISIBLE", "Crop", "cut", "trainable"]

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Pixels = NDArray[np.uint8]

ABSENT, HIDDEN, VISIBLE = 0, 1, 2
UPPER = np.r_[0:11, 23:133]  # head, arms, hands
LOWER = np.r_[11:23]  # hips, legs, feet

HALF_ODDS, LEAST_HALF = 0.25, 4  # visible joints of a half
SCALES = (0.75, 1.35)  # of the box
SHIFT = 0.1  # of the box's sides
TURN_ODDS, TURN = 0.6, 40.0  # degrees
BLOCK_ODDS, BLOCKS, BLOCK_SIDES = 0.4, 3, (0.08, 0.4)  # of the crop's sides
COLOUR_ODDS = 0.7


class Crop(NamedTuple):
    """image (h, w, 3) uint8 BGR, keypoints (133, 2) float32 crop pixels, presence (133,) uint8.

    presence: ABSENT outside the crop or the picture, HIDDEN inside but behind something, or VISIBLE.
    """

    image: Pixels
    keypoints: Floats
    presence: NDArray[np.uint8]


def trainable(sample: Sample) -> tuple[NDArray[np.intp], Floats]:
    """The people of a scene who show enough, and everybody's box (P, 4): around what is in the picture."""
    height, width = sample.image.shape[:2]
    boxes = people_boxes(sample.keypoints, inside(sample.keypoints, width, height))
    return worth_a_crop(boxes, sample.visible), boxes


def cut(sample: Sample, person: int, box: Floats, size: tuple[int, int], rng: np.random.Generator) -> Crop:
    """One crop of (width, height) of a person, by chance: turned, mirrored, halved, recoloured, occluded."""
    width, height = size
    keypoints, visible = sample.keypoints[person], sample.visible[person]
    rows, columns = sample.image.shape[:2]
    in_picture = inside(keypoints, columns, rows)
    box = _jittered(_halved(box, keypoints, visible, rng), rng)
    mirrored = rng.random() < 0.5
    affine = _affine(box, size, mirrored, rng)
    if mirrored:
        flip = list(WHOLEBODY133.flip_index)
        keypoints, visible, in_picture = keypoints[flip], visible[flip], in_picture[flip]
    keypoints = (keypoints @ affine[:, :2].T + affine[:, 2]).astype(np.float32)
    image = cv2.warpAffine(sample.image, affine, size, flags=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
    hidden = _occlude(image, sample.image, keypoints, rng)
    there = in_picture & inside(keypoints, width, height)
    presence = np.where(there, np.where(visible & ~hidden, VISIBLE, HIDDEN), ABSENT).astype(np.uint8)
    return Crop(_recoloured(image, rng), keypoints, presence)


def _halved(box: Floats, keypoints: Floats, visible: Bools, rng: np.random.Generator) -> Floats:
    """Now and then the box of what is seen of the upper or of the lower half, where that is enough."""
    if rng.random() >= HALF_ODDS:
        return box
    half = UPPER if rng.random() < 0.6 else LOWER
    narrow = people_boxes(keypoints[None, half], visible[None, half])[0]
    enough = visible[half].sum() >= LEAST_HALF and (narrow[2:] - narrow[:2]).max() >= LEAST_SIDE
    return narrow if enough else box


def _jittered(box: Floats, rng: np.random.Generator) -> Floats:
    """Grown or shrunk and moved; at least a few pixels wide, for a limb may be a line."""
    centre, sides = (box[:2] + box[2:]) / 2, np.maximum(box[2:] - box[:2], LEAST_SIDE / 8)
    centre = centre + rng.uniform(-SHIFT, SHIFT, 2) * sides
    half = sides / 2 * rng.uniform(*SCALES)
    return np.concatenate([centre - half, centre + half]).astype(np.float32)


def _affine(box: Floats, size: tuple[int, int], mirrored: bool, rng: np.random.Generator) -> Floats:
    """(2, 3) from the scene's pixels to the crop's: the runtime's, then turned about the crop's centre."""
    affine = np.eye(3)
    affine[:2] = crop_affines(box[None], size)[0]
    if rng.random() < TURN_ODDS:
        turn = np.eye(3)
        angle = float(rng.uniform(-TURN, TURN))
        turn[:2] = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), angle, 1.0)
        affine = turn @ affine
    if mirrored:
        affine = np.array([[-1.0, 0, size[0] - 1], [0, 1, 0], [0, 0, 1]]) @ affine
    return affine[:2].astype(np.float32)


def _occlude(image: Pixels, scene: Pixels, keypoints: Floats, rng: np.random.Generator) -> Bools:
    """Lay pieces of the scene over the crop, in place; returns which of the keypoints they hide."""
    hidden = np.zeros(len(keypoints), np.bool_)
    if rng.random() >= BLOCK_ODDS:
        return hidden
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(1, BLOCKS + 1))):
        w, h = (
            int(side * share)
            for side, share in zip((width, height), rng.uniform(*BLOCK_SIDES, 2), strict=True)
        )
        x, y = int(rng.integers(width - w)), int(rng.integers(height - h))
        u, v = int(rng.integers(scene.shape[1] - w)), int(rng.integers(scene.shape[0] - h))
        image[y : y + h, x : x + w] = scene[v : v + h, u : u + w]
        hidden |= inside(keypoints - (x, y), w, h)
    return hidden


def _recoloured(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Another exposure, contrast and white balance."""
    if rng.random() >= COLOUR_ODDS:
        return image
    levels = np.arange(256)[:, None] / 255
    gamma = math.exp(rng.uniform(-0.4, 0.4))
    table = levels**gamma * rng.uniform(0.75, 1.25, 3) + rng.uniform(-0.08, 0.08)
    table = np.clip(table * 255, 0, 255).astype(np.uint8)
    return cv2.LUT(image, table[None]).astype(np.uint8, copy=False)
