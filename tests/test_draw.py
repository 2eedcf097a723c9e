"""People drawn over their picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wholebody.runtime.draw import draw_people, drawn_parts
from wholebody.runtime.media import Image
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import (
    COCO17,
    DOPE,
    DOPE_BODY,
    DOPE_FACE,
    DOPE_HAND,
    SKELETONS,
    WHOLEBODY133,
    Skeleton,
)
from wholebody.runtime.strokes import dot, line

GREY = 120
ANYWHERE = st.floats(width=32, allow_nan=True, allow_infinity=True)


def canvas(height: int = 100, width: int = 120) -> Image:
    return np.full((height, width, 3), GREY, np.uint8)


def crowd(keypoints: np.ndarray, skeleton: Skeleton, scores: np.ndarray | None = None) -> People:
    """People from keypoints (N, K, 2); their boxes hold their finite keypoints."""
    count, k = keypoints.shape[:2]
    finite = np.nan_to_num(keypoints.astype(np.float64), posinf=0, neginf=0)
    boxes = np.concatenate([finite.min(axis=1), finite.max(axis=1)], axis=1).astype(np.float32)
    return People(
        keypoints=keypoints.astype(np.float32),
        scores=np.ones((count, k), np.float32) if scores is None else scores.astype(np.float32),
        keypoints3d=None,
        boxes=boxes,
        score=np.ones(count, np.float32),
        skeleton=skeleton,
    )


def hand(x: float = 60, y: float = 50, size: float = 30) -> np.ndarray:
    """One hand (1, 21, 2): joints on a spiral around a point."""
    angle = np.arange(21) * 0.9
    return np.stack([x + size * angle / 20 * np.cos(angle), y + size * angle / 20 * np.sin(angle)], axis=1)[
        None
    ]


def changed(image: Image, background: Image) -> np.ndarray:
    return (image != background).any(axis=2)


def close_to(image: Image, rgb: tuple[int, int, int]) -> np.ndarray:
    return np.abs(image[..., ::-1].astype(int) - rgb).max(axis=2) < 40


def test_nobody_leaves_the_picture_as_it_is() -> None:
    image = canvas()
    drawn = draw_people(image, People.empty(DOPE))
    assert np.array_equal(drawn, image)
    assert drawn is not image
    assert not np.shares_memory(drawn, image)


def test_the_picture_is_never_changed() -> None:
    image = canvas()
    image.flags.writeable = False
    drawn = draw_people(image, crowd(hand(), DOPE_HAND), boxes=True)
    assert (image == GREY).all()
    assert changed(drawn, image).any()


def test_a_view_of_a_picture_will_do() -> None:
    image = canvas()[:, ::-1]
    assert np.array_equal(
        draw_people(image, crowd(hand(), DOPE_HAND)),
        draw_people(np.ascontiguousarray(image), crowd(hand(), DOPE_HAND)),
    )


def test_limbs_have_the_skeletons_colours() -> None:
    keypoints = np.full((1, 13, 2), np.nan)
    keypoints[0, [0, 2]], keypoints[0, [1, 3]] = [[30, 10], [30, 90]], [[90, 10], [90, 90]]
    drawn = draw_people(canvas(), crowd(keypoints, DOPE_BODY))
    right, left = DOPE_BODY.limb_colors[0], DOPE_BODY.limb_colors[2]
    assert close_to(drawn, right)[20:80, 30].all()
    assert close_to(drawn, left)[20:80, 90].all()
    assert not changed(drawn, canvas())[:, 45:75].any()


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS.keys())
@pytest.mark.parametrize("side", [1, 2, 40, 200, 2000])
def test_every_skeleton_on_every_size(skeleton: Skeleton, side: int) -> None:
    rng = np.random.default_rng(0)
    people = crowd(rng.uniform(0, side, (2, len(skeleton), 2)), skeleton)
    drawn = draw_people(canvas(side, side), people, boxes=True)
    assert drawn.shape == (side, side, 3)
    assert drawn.dtype == np.uint8
    assert changed(drawn, canvas(side, side)).any()


def test_what_was_not_seen_is_not_drawn() -> None:
    unseen = crowd(np.full((1, 21, 2), np.nan), DOPE_HAND, np.zeros((1, 21)))
    without_score = crowd(hand(), DOPE_HAND, np.zeros((1, 21)))
    without_place = crowd(np.full((1, 21, 2), np.nan), DOPE_HAND)
    for people in (unseen, without_score, without_place):
        assert np.array_equal(draw_people(canvas(), people), canvas())


def test_min_score_leaves_out_the_uncertain() -> None:
    scores = np.where(np.arange(21) == 0, 0.9, 0.3)[None]
    people = crowd(hand(), DOPE_HAND, scores)
    everything = changed(draw_people(canvas(), people), canvas()).sum()
    sure = changed(draw_people(canvas(), people, min_score=0.5), canvas())
    assert 0 < sure.sum() < everything
    rows, columns = np.nonzero(sure)
    assert np.abs(rows - 50).max() <= 3  # the wrist alone
    assert np.abs(columns - 60).max() <= 3
    assert np.array_equal(draw_people(canvas(), people, min_score=0.95), canvas())


def test_boxes_only_where_asked() -> None:
    people = crowd(hand(), DOPE_HAND, np.zeros((1, 21)))
    assert changed(draw_people(canvas(), people, boxes=True), canvas()).any()
    assert not changed(draw_people(canvas(), people), canvas()).any()


def test_a_box_without_numbers_is_passed_over() -> None:
    people = crowd(hand(), DOPE_HAND)
    lost = People(people.keypoints, people.scores, None, np.full((1, 4), np.nan), people.score, DOPE_HAND)
    assert np.array_equal(draw_people(canvas(), lost, boxes=True), draw_people(canvas(), people))


def test_lines_grow_with_the_person() -> None:
    def ink(size: int) -> float:
        people = crowd(hand(size / 2, size / 2, size / 3), DOPE_HAND)
        return float(changed(draw_people(canvas(size, size), people), canvas(size, size)).sum()) / size

    assert ink(2000) > 3 * ink(100)


def test_hands_are_finer_than_arms_and_faces_finer_than_hands() -> None:
    def width(skeleton: Skeleton, joints: tuple[int, int]) -> int:
        """Rows that a limb from left to right covers, where the part is 600 pixels long."""
        keypoints = np.full((1, len(skeleton), 2), np.nan)
        keypoints[0, joints[0]], keypoints[0, joints[1]] = (100, 300), (700, 300)
        drawn = draw_people(canvas(600, 800), crowd(keypoints, skeleton))
        return int(changed(drawn, canvas(600, 800))[:, 400].sum())

    assert width(DOPE_BODY, (0, 2)) > width(DOPE_HAND, (0, 1)) > width(DOPE_FACE, (0, 1)) >= 1


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS.keys())
def test_every_joint_is_drawn_with_one_part(skeleton: Skeleton) -> None:
    drawn = [joint for part in drawn_parts(skeleton).values() for joint in range(part.start, part.stop)]
    assert sorted(drawn) == list(range(len(skeleton)))


def one(skeleton: Skeleton, places: dict[str, tuple[float, float]]) -> np.ndarray:
    """Keypoints (1, K, 2) of a person of whom these joints are seen."""
    keypoints = np.full((1, len(skeleton), 2), np.nan)
    for name, place in places.items():
        keypoints[0, skeleton.joints.index(name)] = place
    return keypoints


@pytest.mark.parametrize("skeleton", [COCO17, WHOLEBODY133], ids=lambda skeleton: skeleton.name)
def test_heads_and_feet_are_finer_than_the_trunk(skeleton: Skeleton) -> None:
    places = {"left_ear": (100.0, 100.0), "left_shoulder": (700.0, 100.0)}  # a level line each
    places |= {"left_hip": (100.0, 300.0), "right_hip": (700.0, 300.0)}
    if "feet" in skeleton.parts:
        places |= {"left_ankle": (100.0, 500.0), "left_big_toe": (700.0, 500.0)}
    drawn = draw_people(canvas(600, 800), crowd(one(skeleton, places), skeleton))
    rows = changed(drawn, canvas(600, 800))[:, 300]  # where no other limb crosses
    head, trunk, feet = rows[50:150].sum(), rows[250:350].sum(), rows[450:550].sum()
    assert 1 <= head < trunk
    assert 1 <= feet < trunk or "feet" not in skeleton.parts


def test_feet_have_their_sides_colour_and_do_not_hide_the_ankle() -> None:
    places = {"right_knee": (50.0, 20.0), "right_ankle": (50.0, 420.0), "left_ankle": (350.0, 420.0)}
    for side, x in (("right", 50.0), ("left", 350.0)):
        for joint, shift in (("big_toe", 40.0), ("small_toe", -40.0), ("heel", 0.0)):
            places[f"{side}_{joint}"] = (x + shift, 470.0)
    drawn = draw_people(canvas(500, 500), crowd(one(WHOLEBODY133, places), WHOLEBODY133))
    right, left = DOPE_BODY.limb_colors[0], DOPE_BODY.limb_colors[2]
    for color, half in ((right, np.s_[430:470, :250]), (left, np.s_[430:470, 250:])):
        assert (close_to(drawn[half], color).sum(axis=1) >= 3).mean() > 0.8
    assert close_to(drawn, (250, 250, 250))[420, 50]


def test_nose_and_eyes_are_left_to_the_face_where_it_is_seen() -> None:
    head = {"nose": (60.0, 60.0), "left_eye": (80.0, 40.0), "right_eye": (40.0, 40.0)}
    chin = {"face_contour_7": (50.0, 90.0), "face_contour_8": (60.0, 92.0)}
    middle = np.s_[35:65, 35:85]
    alone = draw_people(canvas(), crowd(one(WHOLEBODY133, head), WHOLEBODY133))
    with_face = draw_people(canvas(), crowd(one(WHOLEBODY133, head | chin), WHOLEBODY133))
    assert changed(alone, canvas())[middle].any()
    assert not changed(with_face, canvas())[middle].any()
    assert changed(with_face, canvas())[88:95].any()


def test_ears_hang_on_the_shoulders_also_where_the_face_is_seen() -> None:
    places = {"left_ear": (90.0, 20.0), "left_shoulder": (90.0, 80.0), "face_contour_8": (20.0, 40.0)}
    drawn = draw_people(canvas(), crowd(one(WHOLEBODY133, places), WHOLEBODY133))
    assert changed(drawn, canvas())[25:75, 90].all()


def test_feet_are_as_thick_as_the_person_is_large() -> None:
    feet = {"left_ankle": (100.0, 700.0), "left_big_toe": (220.0, 700.0)}

    def thickness(knee: float) -> int:
        people = crowd(one(WHOLEBODY133, feet | {"left_knee": (100.0, knee)}), WHOLEBODY133)
        return int(changed(draw_people(canvas(800, 800), people), canvas(800, 800))[:, 160].sum())

    assert thickness(20) > thickness(600)


def test_a_small_persons_neck_shines_through_from_end_to_end() -> None:
    places = {"left_ear": (60.0, 20.0), "left_shoulder": (60.0, 60.0)}
    neck = draw_people(canvas(), crowd(one(COCO17, places), COCO17))[24:54, 60]
    assert np.ptp(neck.astype(int), axis=0).max() < 10
    assert not close_to(neck[None], COCO17.limb_colors[COCO17.limbs.index((3, 5))]).any()


def test_the_nearest_person_lies_on_top() -> None:
    keypoints = np.full((2, 13, 2), np.nan)
    keypoints[0, [0, 2]] = [[60, 0], [60, 99]]  # large: the right shank, upright
    keypoints[1, [1, 3]] = [[50, 50], [70, 50]]  # small: the left shank, level
    boxes = np.array([[0, 0, 119, 99], [50, 40, 70, 60]], np.float32)
    for order in ([0, 1], [1, 0]):
        people = crowd(keypoints[order], DOPE_BODY)
        people = People(people.keypoints, people.scores, None, boxes[order], people.score, DOPE_BODY)
        assert close_to(draw_people(canvas(), people), DOPE_BODY.limb_colors[0])[50, 60]


@settings(max_examples=60, derandomize=True, deadline=None)
@given(points=st.lists(st.tuples(ANYWHERE, ANYWHERE), min_size=21, max_size=21), boxes=st.booleans())
def test_keypoints_anywhere_are_safe(points: list[tuple[float, float]], boxes: bool) -> None:
    people = crowd(np.array([points]), DOPE_HAND)
    assert draw_people(canvas(), people, boxes=boxes).shape == canvas().shape


@settings(derandomize=True, deadline=None)
@given(
    start=st.tuples(st.floats(-300, 300), st.floats(-300, 300)),
    end=st.tuples(st.floats(-300, 300), st.floats(-300, 300)),
    width=st.floats(0.2, 12),
)
def test_a_cut_line_is_the_same_line(
    start: tuple[float, float], end: tuple[float, float], width: float
) -> None:
    """What is seen of a line does not depend on how large the picture around it is."""
    small, large = canvas(40, 50), canvas(800, 800)
    line(small, start, end, (255, 0, 0), width)
    line(large, (start[0] + 400, start[1] + 400), (end[0] + 400, end[1] + 400), (255, 0, 0), width)
    difference = np.abs(small.astype(int) - large[400:440, 400:450])
    assert (difference.max(axis=2) > 100).sum() <= 4  # a cut end rounds to another sixteenth of a pixel


@settings(derandomize=True, deadline=None)
@given(far=st.floats(1e5, 3e38), angle=st.floats(0, 6.28))
def test_a_line_through_the_picture_is_seen_however_far_its_ends_are(far: float, angle: float) -> None:
    image = canvas()
    x, y = far * np.cos(angle), far * np.sin(angle)
    line(image, (60.0, 50.0), (60.0 + x, 50.0 + y), (255, 0, 0), 3)
    assert close_to(image, (255, 0, 0))[50, 60]


def test_lines_beside_the_picture_leave_no_trace() -> None:
    image = canvas()
    for start, end in (((-50, -50), (-20, 200)), ((300, 0), (300, 99)), ((-1e30, -1e30), (1e30, -1e30))):
        line(image, start, end, (255, 0, 0), 3)
    for centre in ((-50.0, 50.0), (1e30, 50.0), (60.0, -1e30)):
        dot(image, centre, (255, 0, 0), 5)
    assert np.array_equal(image, canvas())


def test_half_a_dot_at_the_edge_is_drawn() -> None:
    image = canvas()
    dot(image, (-2.0, 50.0), (255, 0, 0), 6)
    assert close_to(image, (255, 0, 0))[50, :3].all()
    assert not changed(image, canvas())[:, 8:].any()
