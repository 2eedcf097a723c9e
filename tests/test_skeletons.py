"""Skeleton tables: orders, limbs, flips and constants, held against what the data sets publish."""

from __future__ import annotations

from itertools import pairwise

import pytest

from wholebody.runtime.skeletons import (
    COCO17,
    COCO_HAND21,
    DOPE,
    DOPE_BODY,
    DOPE_FACE,
    DOPE_HAND,
    SKELETONS,
    WHOLEBODY133,
    Skeleton,
)

EVERY = pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS.keys())
WHOLE = pytest.mark.parametrize("skeleton", [DOPE, WHOLEBODY133], ids=lambda skeleton: skeleton.name)

# The swaps of COCO-WholeBody's own table, by index.
COCO_BODY_SWAPS = [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)]
FEET_SWAPS = [(17, 20), (18, 21), (19, 22)]
IBUG_SWAPS = [
    (16, 0), (15, 1), (14, 2), (13, 3), (12, 4), (11, 5), (10, 6), (9, 7), (26, 17), (25, 18), (24, 19),
    (23, 20), (22, 21), (35, 31), (34, 32), (45, 36), (44, 37), (43, 38), (42, 39), (46, 41), (47, 40),
    (54, 48), (53, 49), (52, 50), (55, 59), (56, 58), (64, 60), (63, 61), (65, 67),
]  # fmt: skip


@EVERY
def test_every_joint_belongs_to_one_part_and_has_a_name_of_its_own(skeleton: Skeleton) -> None:
    assert len(set(skeleton.joints)) == len(skeleton) == len(skeleton.sigmas)
    stops = [0, *(part.stop for part in skeleton.parts.values())]
    starts = [*(part.start for part in skeleton.parts.values()), len(skeleton)]
    assert stops == starts


@EVERY
def test_limbs_name_joints_once(skeleton: Skeleton) -> None:
    assert all(0 <= a < len(skeleton) and 0 <= b < len(skeleton) and a != b for a, b in skeleton.limbs)
    assert len({frozenset(limb) for limb in skeleton.limbs}) == len(skeleton.limbs)


@EVERY
def test_flipping_twice_changes_nothing(skeleton: Skeleton) -> None:
    index = skeleton.flip_index
    assert [index[i] for i in index] == list(range(len(skeleton)))


@WHOLE
def test_flips_trade_left_for_right(skeleton: Skeleton) -> None:
    for joint, other in zip(skeleton.joints, skeleton.flip_index, strict=True):
        swapped = joint.replace("left", "?").replace("right", "left").replace("?", "right")
        if not joint.startswith("face_"):
            assert skeleton.joints[other] == swapped
    for left, right in skeleton.flip_pairs:
        assert "right" not in skeleton.joints[left]
        assert "left" not in skeleton.joints[right]


@EVERY
def test_limbs_stay_limbs_in_a_mirror_and_change_colour_with_the_side(skeleton: Skeleton) -> None:
    colors = {frozenset(limb): c for limb, c in zip(skeleton.limbs, skeleton.limb_colors, strict=True)}
    sides = {(255, 128, 0): (0, 200, 80), (0, 200, 80): (255, 128, 0)}
    for (a, b), color in zip(skeleton.limbs, skeleton.limb_colors, strict=True):
        mirrored = frozenset((skeleton.flip_index[a], skeleton.flip_index[b]))
        assert colors[mirrored] == sides.get(color, color)


def test_coco_body_is_in_cocos_order() -> None:
    assert COCO17.joints == (
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
        "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee",
        "right_knee", "left_ankle", "right_ankle",
    )  # fmt: skip
    assert list(COCO17.flip_pairs) == COCO_BODY_SWAPS
    assert len(COCO17.limbs) == 19


def test_a_coco_hand_goes_finger_by_finger_from_the_palm() -> None:
    assert COCO_HAND21.joints[:9] == (
        "wrist", "thumb1", "thumb2", "thumb3", "thumb4", "index1", "index2", "index3", "index4",
    )  # fmt: skip
    assert COCO_HAND21.joints[20] == "little4"
    for finger in range(5):
        first = 1 + 4 * finger
        chain = [0, *range(first, first + 4)]
        assert COCO_HAND21.limbs[4 * finger : 4 * finger + 4] == tuple(pairwise(chain))
        assert len(set(COCO_HAND21.limb_colors[4 * finger : 4 * finger + 4])) == 1
    assert len(set(COCO_HAND21.limb_colors)) == 5


def test_wholebody_is_body_feet_face_and_two_hands() -> None:
    assert dict(WHOLEBODY133.parts) == {
        "body": slice(0, 17), "feet": slice(17, 23), "face": slice(23, 91), "left_hand": slice(91, 112),
        "right_hand": slice(112, 133),
    }  # fmt: skip
    assert WHOLEBODY133.joints[:17] == COCO17.joints
    assert WHOLEBODY133.joints[17:23] == (
        "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
    )  # fmt: skip
    for index, name in (
        (23, "face_contour_0"), (31, "face_contour_8"), (39, "face_contour_16"), (40, "face_right_brow_0"),
        (45, "face_left_brow_0"), (50, "face_nose_bridge_0"), (54, "face_nostril_0"),
        (59, "face_right_eye_0"), (65, "face_left_eye_0"), (71, "face_outer_lip_0"), (83, "face_inner_lip_0"),
        (90, "face_inner_lip_7"), (91, "left_hand_wrist"), (92, "left_hand_thumb1"),
        (111, "left_hand_little4"), (112, "right_hand_wrist"), (132, "right_hand_little4"),
    ):  # fmt: skip
        assert WHOLEBODY133.joints[index] == name


def test_wholebody_flips_as_coco_wholebody_does() -> None:
    face = [(23 + a, 23 + b) for a, b in IBUG_SWAPS]
    hands = [(91 + i, 112 + i) for i in range(21)]
    expected = {frozenset(pair) for pair in (*COCO_BODY_SWAPS, *FEET_SWAPS, *face, *hands)}
    assert {frozenset(pair) for pair in WHOLEBODY133.flip_pairs} == expected
    assert len(WHOLEBODY133.flip_pairs) == len(expected)


def test_feet_hang_on_the_ankles() -> None:
    limbs = {(a, b) for a, b in WHOLEBODY133.limbs if 17 <= a < 23 or 17 <= b < 23}
    assert limbs == {(17, 15), (18, 15), (19, 15), (20, 16), (21, 16), (22, 16)}


def test_wholebody_sigmas() -> None:
    """Sums of the official evaluation's tables, and one constant of each part."""
    assert COCO17.sigmas[:5] == (0.026, 0.025, 0.025, 0.035, 0.035)
    sums = {"body": 1.138, "feet": 0.48, "face": 1.137, "left_hand": 0.553, "right_hand": 0.553}
    for part, where in WHOLEBODY133.parts.items():
        assert sum(WHOLEBODY133.sigmas[where]) == pytest.approx(sums[part], abs=1e-9)
    by_name = dict(zip(WHOLEBODY133.joints, WHOLEBODY133.sigmas, strict=True))
    assert by_name["left_heel"] == 0.066
    assert by_name["right_big_toe"] == 0.092
    assert by_name["face_contour_8"] == 0.020
    assert by_name["face_right_brow_0"] == 0.013
    assert by_name["face_left_eye_4"] == 0.010
    assert by_name["face_left_eye_5"] == 0.034  # so in the official table
    assert by_name["face_outer_lip_0"] == 0.008
    assert by_name["left_hand_thumb4"] == by_name["right_hand_thumb4"] == 0.047


def test_dope_is_body_face_and_two_hands() -> None:
    assert [len(s) for s in (DOPE_BODY, DOPE_HAND, DOPE_FACE, DOPE)] == [13, 21, 84, 139]
    assert list(DOPE.parts) == ["body", "face", "left_hand", "right_hand"]
    assert DOPE_BODY.joints[:2] == ("right_ankle", "left_ankle")
    assert DOPE_HAND.joints[1:9] == (
        "thumb_mcp", "index_mcp", "middle_mcp", "ring_mcp", "little_mcp", "thumb_pip", "thumb_dip",
        "thumb_tip",
    )  # fmt: skip
    assert DOPE_HAND.limbs[:4] == ((0, 1), (1, 6), (6, 7), (7, 8))
    assert DOPE_HAND.sigmas[:3] == (0.029, 0.022, 0.026)  # wrist, thumb_mcp, index_mcp
    assert DOPE_HAND.sigmas[6:9] == (0.035, 0.037, 0.047)


def test_a_table_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="one sigma per joint"):
        Skeleton("two", ("a", "b"), {}, (), (), (), (0.1,))
    with pytest.raises(ValueError, match="one colour per limb"):
        Skeleton("two", ("a", "b"), {}, ((0, 1),), (), (), (0.1, 0.1))


def test_parts_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        COCO17.parts["tail"] = slice(0, 1)  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
