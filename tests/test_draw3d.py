"""The panel of 3D poses."""

from __future__ import annotations

import numpy as np
import pytest

from wholebody.runtime.draw3d import draw_view3d, side_by_side
from wholebody.runtime.media import Image
from wholebody.runtime.people import People
from wholebody.runtime.skeletons import (
    COCO17,
    DOPE,
    DOPE_BODY,
    DOPE_HAND,
    DOPE_TO_WHOLEBODY,
    SKELETONS,
    WHOLEBODY133,
    Skeleton,
)

SIZE = (320, 400)
BACKGROUND = (33, 36, 42)
RIGHT, LEFT = DOPE_BODY.limb_colors[0], DOPE_BODY.limb_colors[2]

# A person who stands upright and faces the camera: joints in DOPE's order, metres, x right, y down, z away.
STANDING = np.array([
    [-0.12, 0.85, 0.02], [0.12, 0.85, 0.02], [-0.11, 0.45, 0], [0.11, 0.45, 0],
    [-0.10, 0.02, 0.02], [0.10, 0.02, 0.02],
    [-0.32, 0.00, -0.10], [0.32, 0.00, -0.10], [-0.28, -0.22, 0.03], [0.28, -0.22, 0.03], [-0.18, -0.48, 0],
    [0.18, -0.48, 0], [0.0, -0.85, 0.0],
])  # fmt: skip


def hand_at(wrist: np.ndarray, side: int) -> np.ndarray:
    """Five straight fingers that hang down from a wrist."""
    joints = [wrist]
    spread = np.linspace(-0.04, 0.04, 5) * side
    joints += [wrist + np.array([spread[n], 0.08, 0]) for n in range(5)]
    for n in range(5):
        joints += [wrist + np.array([spread[n] * 1.3, 0.105 + 0.025 * k, -0.01 * k]) for k in range(3)]
    return np.array(joints)


def face_at(centre: np.ndarray) -> np.ndarray:
    """Eighty-four points of an oval that bulges towards the camera; the jaw comes first."""
    angle = np.concatenate([np.linspace(0, np.pi, 33), np.linspace(0, 2 * np.pi, 51)])
    radius = np.concatenate([np.ones(33), np.full(51, 0.4)])
    depth = -0.08 * np.sqrt(1 - 0.9 * radius**2)
    return centre + np.stack([0.07 * radius * np.cos(angle), 0.1 * radius * np.sin(angle), depth], axis=1)


def standing() -> np.ndarray:
    """One person of 139 keypoints (139, 3)."""
    hands = hand_at(STANDING[7], 1), hand_at(STANDING[6], -1)
    return np.concatenate([STANDING, face_at(np.array([0, -0.70, -0.05])), *hands])


def crowd(
    poses: np.ndarray,
    skeleton: Skeleton = DOPE,
    *,
    left: list[float] | None = None,
    scores: np.ndarray | None = None,
) -> People:
    """People from 3D keypoints (N, K, 3); `left` is where their boxes begin in the picture."""
    count, k = poses.shape[:2]
    x = np.arange(count) * 100.0 if left is None else np.array(left)
    boxes = np.stack([x, 0 * x, x + 80, 0 * x + 200], axis=1).reshape(count, 4)
    return People(
        keypoints=np.zeros((count, k, 2), np.float32),
        scores=np.ones((count, k), np.float32) if scores is None else scores.astype(np.float32),
        keypoints3d=poses.astype(np.float32),
        boxes=boxes.astype(np.float32),
        score=np.ones(count, np.float32),
        skeleton=skeleton,
    )


def hue(image: Image, rgb: tuple[int, int, int]) -> np.ndarray:
    """(H, W) bool: where a colour is seen, also darkened by depth."""
    pixels = image[..., ::-1].astype(float) - BACKGROUND
    wanted = np.array(rgb, float) - BACKGROUND
    strength = pixels @ wanted / (wanted @ wanted)
    return (strength > 0.4) & (np.abs(pixels - strength[..., None] * wanted).max(axis=2) < 12)


def middle(mask: np.ndarray) -> tuple[float, float]:
    """Mean column and row of what is set."""
    assert mask.any()
    rows, columns = np.nonzero(mask)
    return float(columns.mean()), float(rows.mean())


def empty_panel() -> Image:
    return draw_view3d(People.empty(DOPE, with_3d=True), SIZE)


def test_nobody_is_said_quietly() -> None:
    panel = empty_panel()
    assert panel.shape == (400, 320, 3)
    assert panel.dtype == np.uint8
    assert (panel[170:200] != BACKGROUND[::-1]).any()  # the words
    assert panel[170:200].max() < 160
    assert (panel[:160] == BACKGROUND[::-1]).all()


def test_people_without_3d_are_said_too() -> None:
    flat = crowd(standing()[None])
    without = People(flat.keypoints, flat.scores, None, flat.boxes, flat.score, DOPE)
    panel = draw_view3d(without, SIZE)
    assert not np.array_equal(panel, empty_panel())
    assert np.array_equal(panel[:150], empty_panel()[:150])


@pytest.mark.parametrize("poses", [np.full((2, 139, 3), np.nan), np.full((1, 139, 3), 1e30)])
def test_poses_that_cannot_be_drawn_are_nobody(poses: np.ndarray) -> None:
    assert np.array_equal(draw_view3d(crowd(poses), SIZE), empty_panel())


def test_unseen_keypoints_are_nobody() -> None:
    people = crowd(standing()[None], scores=np.zeros((1, 139)))
    assert np.array_equal(draw_view3d(people, SIZE), empty_panel())
    people = crowd(standing()[None], scores=np.full((1, 139), 0.3))
    assert np.array_equal(draw_view3d(people, SIZE, min_score=0.5), empty_panel())


def test_a_person_stands_upright_and_fills_the_panel() -> None:
    panel = draw_view3d(crowd(standing()[None]), SIZE)
    legs = hue(panel, RIGHT)[:, 60:] | hue(panel, LEFT)[:, 60:]
    rows = np.nonzero(legs.any(axis=1))[0]
    assert rows.max() - rows.min() > 180  # shoulders to ankles
    assert (
        middle(hue(panel, RIGHT)[:300])[0] < middle(hue(panel, LEFT)[:300])[0]
    )  # faces us: his right on our left


def test_the_view_is_turned_so_that_depth_shows() -> None:
    far, near = standing(), standing()
    far[6, 2], near[6, 2] = 0.6, -0.6  # the right wrist
    columns = [middle(hue(draw_view3d(crowd(pose[None]), SIZE), RIGHT)[:300])[0] for pose in (near, far)]
    assert columns[0] + 5 < columns[1]  # what is further away moves to the right


def test_far_limbs_are_darker() -> None:
    def brightness(depth: float) -> int:
        pose = np.full((1, 13, 3), np.nan)
        pose[0, 8], pose[0, 10] = (0.0, 0.0, depth), (0.0, 0.6, depth)
        return int(draw_view3d(crowd(pose, DOPE_BODY), SIZE)[:300, :, 2].max())

    assert brightness(-0.5) > brightness(0.0) + 10 > brightness(0.5) + 20


def test_hands_and_faces_have_their_colours() -> None:
    people = crowd(standing()[None])
    panel = draw_view3d(people, (640, 800))
    for finger in DOPE_HAND.limb_colors[::4]:
        assert hue(panel, finger).any()
    head = panel[:260]
    assert (head.min(axis=2) > 140).any()  # nearly white


@pytest.mark.parametrize("left", [[0.0, 500.0], [500.0, 0.0]])
def test_people_stand_as_their_boxes_do(left: list[float]) -> None:
    poses = np.full((2, 13, 3), np.nan)
    poses[0, [0, 2]], poses[1, [1, 3]] = STANDING[[0, 2]], STANDING[[1, 3]]  # a right and a left shank
    panel = draw_view3d(crowd(poses, DOPE_BODY, left=left), SIZE)[:, 70:]
    first, second = middle(hue(panel, RIGHT)), middle(hue(panel, LEFT))
    assert (first[0] < second[0]) == (left[0] < left[1])


def test_many_people_stand_in_rows_and_in_the_panel() -> None:
    panel = draw_view3d(crowd(np.stack([standing()] * 7)), SIZE)
    rows = np.nonzero(hue(panel, LEFT).any(axis=1))[0]
    assert np.diff(rows).max() > 8  # a gap between rows of people
    for edge in (panel[0], panel[:, 0], panel[:, -1]):
        assert edge.max() < 115  # the floor's lines, but nobody


def test_a_hand_alone_is_drawn_large() -> None:
    panel = draw_view3d(crowd(hand_at(np.zeros(3), 1)[None], DOPE_HAND), SIZE)
    rows = np.nonzero(hue(panel, DOPE_HAND.limb_colors[8]).any(axis=1))[0]
    assert rows.max() - rows.min() > 80


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS.keys())
@pytest.mark.parametrize("size", [(1, 1), (3, 50), (50, 3), (640, 480), (101, 333)])
def test_any_size_and_skeleton(skeleton: Skeleton, size: tuple[int, int]) -> None:
    poses = np.random.default_rng(0).normal(0, 0.3, (3, len(skeleton), 3))
    assert draw_view3d(crowd(poses, skeleton), size).shape == (size[1], size[0], 3)


def standing133() -> np.ndarray:
    """The same person of 133 keypoints (133, 3): her feet stand flat, toes towards the camera."""
    joints = np.full((133, 3), np.nan)
    for dope, joint in DOPE_TO_WHOLEBODY:
        joints[joint] = standing()[dope]
    joints[0:5] = [
        [0, -0.68, -0.14],
        [0.03, -0.72, -0.12],
        [-0.03, -0.72, -0.12],
        [0.08, -0.7, 0],
        [-0.08, -0.7, 0],
    ]
    for first, side, ankle in ((17, 1, joints[15]), (20, -1, joints[16])):
        toes_and_heel = np.array([[0, 0.08, -0.2], [side * 0.07, 0.08, -0.17], [0, 0.08, 0.05]])
        joints[first : first + 3] = ankle + toes_and_heel
    return joints


def test_feet_stand_on_the_floor_in_their_sides_colours() -> None:
    panel = draw_view3d(crowd(standing133()[None], WHOLEBODY133), SIZE)
    bare = standing133()
    bare[17:23] = np.nan
    without = draw_view3d(crowd(bare[None], WHOLEBODY133), SIZE)
    for color in (RIGHT, LEFT):
        assert hue(panel, color)[330:, 60:].sum() > hue(without, color)[330:, 60:].sum() + 20


@pytest.mark.parametrize("skeleton", [COCO17, WHOLEBODY133], ids=lambda skeleton: skeleton.name)
def test_coco_people_stand_upright_with_a_head(skeleton: Skeleton) -> None:
    panel = draw_view3d(crowd(standing133()[None, : len(skeleton)], skeleton), SIZE)
    legs = np.nonzero((hue(panel, RIGHT) | hue(panel, LEFT))[:, 60:].any(axis=1))[0]
    assert legs.max() - legs.min() > 180
    assert middle(hue(panel, RIGHT)[:300])[0] < middle(hue(panel, LEFT)[:300])[0]
    above = panel[: legs.min() - 5].astype(int)
    assert (np.abs(above - BACKGROUND[::-1]).max(axis=2) > 60).sum() > 40


def test_a_neck_and_a_foot_are_finer_than_a_thigh() -> None:
    def ink(*joints: int) -> int:
        pose = np.full((1, 133, 3), np.nan)
        pose[0, joints] = [[0, -0.5, 0], [0, 0.5, 0]]
        pose[0, 15] = [0, 0.5, 0]  # an ankle, for all stand alike
        panel = draw_view3d(crowd(pose, WHOLEBODY133), SIZE)[40:280, 60:]
        return int((np.abs(panel.astype(int) - BACKGROUND[::-1]).max(axis=2) > 60).sum())

    neck, foot, thigh = ink(3, 5), ink(19, 15), ink(11, 13)
    assert 0 < neck < foot < thigh


def test_the_face_is_not_hidden_by_lines_between_nose_and_ears() -> None:
    blue = WHOLEBODY133.limb_colors[WHOLEBODY133.limbs.index((0, 1))]
    person = standing133()
    person[[5, 6]] = np.nan  # no shoulders, so no neck
    faceless = person.copy()
    faceless[23:91] = np.nan
    panels = [draw_view3d(crowd(pose[None], WHOLEBODY133), (640, 800)) for pose in (person, faceless)]
    assert not hue(panels[0], blue)[:230].any()
    assert hue(panels[1], blue)[:230].any()


def test_one_keypoint_alone() -> None:
    poses = np.full((1, 13, 3), np.nan)
    poses[0, 0] = 0
    assert draw_view3d(crowd(poses, DOPE_BODY), SIZE).shape == (400, 320, 3)


def test_the_people_are_left_as_they_are() -> None:
    people = crowd(standing()[None])
    assert people.keypoints3d is not None
    before = people.keypoints3d.copy()
    draw_view3d(people, SIZE)
    assert np.array_equal(people.keypoints3d, before)


def test_side_by_side() -> None:
    image = np.full((50, 70, 3), 1, np.uint8)
    both = side_by_side(image, np.full((50, 30, 3), 2, np.uint8))
    assert both.shape == (50, 100, 3)
    assert (both[:, :70] == 1).all()
    assert (both[:, 70:] == 2).all()


@pytest.mark.parametrize(("panel", "width"), [((100, 60), 30), ((25, 30), 60), ((1000, 1), 1)])
def test_side_by_side_takes_the_pictures_height(panel: tuple[int, int], width: int) -> None:
    both = side_by_side(np.zeros((50, 70, 3), np.uint8), np.zeros((*panel, 3), np.uint8))
    assert both.shape == (50, 70 + width, 3)
