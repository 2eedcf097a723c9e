"""Bodies, hands and faces become people."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wholebody.runtime.kernels.proposals import Detections
from wholebody.runtime.people import People
from wholebody.runtime.pipelines.assemble import assemble
from wholebody.runtime.skeletons import DOPE

BODY, FACE, LEFT, RIGHT = (DOPE.parts[part] for part in ("body", "face", "left_hand", "right_hand"))
PICTURE = (480, 640)
PIXELS_PER_METRE = 200
SEED = np.random.default_rng(0)
# Camera axes, metres from the body's centre. Someone who faces the camera: the right is at small x.
BODY3D = np.array(
    [
        [-.1, .9, 0], [.1, .9, 0], [-.1, .5, 0], [.1, .5, 0], [-.1, .1, 0], [.1, .1, 0], [-.4, 0, -.1],
        [.4, 0, -.1], [-.3, -.2, 0], [.3, -.2, 0], [-.2, -.4, 0], [.2, -.4, 0], [0, -.8, .05],
    ],
    np.float32,
)  # fmt: skip
HAND3D = SEED.uniform((-0.04, 0.03, 0), (0.04, 0.16, 0.05), (21, 3)).astype(np.float32)
HAND3D[0] = 0
FACE3D = SEED.uniform((-0.06, -0.13, 0), (0.06, 0, 0.05), (84, 3)).astype(np.float32)
FACE3D[16], FACE3D[33:43, 1] = (0, 0, 0), -0.13  # chin, brows
CHIN = np.array([0, -0.57, 0], np.float32)  # crown 10 cm above the brows


def detections(pose2d: list[np.ndarray], pose3d: list[np.ndarray], score: float, joints: int) -> Detections:
    p2 = np.array(pose2d, np.float32).reshape(-1, joints, 2)
    box = np.concatenate([p2.min(axis=1), p2.max(axis=1)], axis=1)
    p3 = np.array(pose3d, np.float32).reshape(-1, joints, 3)
    return Detections(np.full(len(p2), score, "f4"), p2, p3, np.zeros(len(p2), np.int64), None, box)


def bodies(*centres: tuple[float, float], score: float = 3.0) -> Detections:
    pose2d = [np.array(c) + BODY3D[:, :2] * PIXELS_PER_METRE for c in centres]
    return detections(pose2d, [BODY3D * [-1, -1, 1]] * len(centres), score, 13)


def hands(*wrists: tuple[float, float, bool], score: float = 0.5) -> Detections:
    pose2d = [np.array(w[:2]) + HAND3D[:, :2] * PIXELS_PER_METRE for w in wrists]
    found = detections(pose2d, [HAND3D] * len(wrists), score, 21)
    right = np.array([w[2] for w in wrists], np.bool_)
    return Detections(found.score, found.pose2d, found.pose3d, found.label, right, found.box)


def faces(*chins: tuple[float, float], score: float = 0.7) -> Detections:
    pose2d = [np.array(c) + FACE3D[:, :2] * PIXELS_PER_METRE for c in chins]
    return detections(pose2d, [FACE3D] * len(chins), score, 84)


def wrist(centre: tuple[float, float], right: bool, off: float = 5.0) -> tuple[float, float, bool]:
    x, y = np.array(centre) + BODY3D[6 if right else 7, :2] * PIXELS_PER_METRE
    return float(x) + off, float(y), right


def chin(centre: tuple[float, float]) -> tuple[float, float]:
    x, y = np.array(centre) + CHIN[:2] * PIXELS_PER_METRE
    return float(x), float(y)


def parts(people: People) -> list[str]:
    letters = {"body": "b", "face": "f", "left_hand": "l", "right_hand": "r"}
    has = {letter: people.has_part(part) for part, letter in letters.items()}
    return ["".join(letter for letter in "bflr" if has[letter][i]) for i in range(len(people))]


A, B = (150.0, 240.0), (450.0, 240.0)


def test_nobody() -> None:
    people = assemble(bodies(), hands(), faces(), PICTURE)
    assert len(people) == 0
    assert people.keypoints3d is not None
    assert people.skeleton is DOPE


@pytest.mark.parametrize("with_body", [False, True])
@pytest.mark.parametrize("with_hands", [False, True])
@pytest.mark.parametrize("with_face", [False, True])
def test_any_part_may_be_missing(with_body: bool, with_hands: bool, with_face: bool) -> None:
    hand = hands(wrist(A, True), wrist(A, False)) if with_hands else hands()
    people = assemble(bodies(*[A] * with_body), hand, faces(*[chin(A)] * with_face), PICTURE)
    if with_body:
        assert parts(people) == ["b" + "f" * with_face + "lr" * with_hands]
    else:
        assert parts(people) == ["r", "l"] * with_hands + ["f"] * with_face
    unseen = people.scores == 0
    assert np.isnan(people.keypoints[unseen]).all()
    assert people.keypoints3d is not None
    assert np.isnan(people.keypoints3d[unseen]).all()
    assert np.isfinite(people.keypoints[~unseen]).all()
    assert np.isfinite(people.keypoints3d[~unseen]).all()


def test_two_people_keep_what_is_theirs() -> None:
    hand = hands(wrist(B, False), wrist(A, True), wrist(A, False), wrist(B, True))
    people = assemble(bodies(A, B), hand, faces(chin(B), chin(A)), PICTURE)
    assert parts(people) == ["bflr", "bflr"]
    np.testing.assert_array_equal(people.keypoints[:, RIGHT], hand.pose2d[[1, 3]])
    np.testing.assert_array_equal(people.keypoints[:, LEFT], hand.pose2d[[2, 0]])
    np.testing.assert_array_equal(people.keypoints[:, FACE], faces(chin(A), chin(B)).pose2d)


def test_scores_are_confidences_and_the_person_keeps_the_bodys() -> None:
    people = assemble(bodies(A, score=3), hands(wrist(A, True)), faces((600, 400), score=1.5), PICTURE)
    assert people.score.tolist() == [3, 1.5]
    assert people.scores[0, BODY].tolist() == [1] * 13
    assert people.scores[0, RIGHT].tolist() == [0.5] * 21
    assert people.scores[1, FACE].max() == 1


def test_the_2d_wrist_moves_to_the_hand_and_the_3d_hand_to_the_wrist() -> None:
    people = assemble(bodies(A), hands(wrist(A, False)), faces(), PICTURE)
    assert people.keypoints3d is not None
    np.testing.assert_array_equal(people.keypoints[0, 7], wrist(A, False)[:2])
    np.testing.assert_array_equal(people.keypoints[0, 6], wrist(A, True, off=0)[:2])
    np.testing.assert_allclose(people.keypoints3d[0, BODY], BODY3D, atol=1e-6)
    np.testing.assert_allclose(people.keypoints3d[0, LEFT], BODY3D[7] + HAND3D, atol=1e-6)


def test_a_face_is_placed_by_weak_perspective_as_deep_as_the_head() -> None:
    people = assemble(bodies(A), hands(), faces(chin(A)), PICTURE)
    assert people.keypoints3d is not None
    expected = CHIN + FACE3D
    expected[:, 2] += BODY3D[12, 2] - FACE3D[:, 2].mean()
    np.testing.assert_allclose(people.keypoints3d[0, FACE], expected, atol=1e-5)


def test_lone_parts_have_their_origin_at_their_centre() -> None:
    people = assemble(bodies(), hands((50, 50, True)), faces((300, 200)), PICTURE)
    assert people.keypoints3d is not None
    np.testing.assert_allclose(people.keypoints3d[0, RIGHT].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(people.keypoints3d[1, FACE].mean(axis=0), 0, atol=1e-6)


def test_a_body_without_extent_takes_a_face_all_the_same() -> None:
    flat = bodies(A)
    flat.pose2d[:] = flat.pose2d[:, 12:13]
    people = assemble(flat, hands(), faces(chin(A)), PICTURE)
    assert parts(people) == ["bf"]
    assert people.keypoints3d is not None
    assert np.isfinite(people.keypoints3d[0, FACE]).all()


def test_a_hand_goes_to_the_wrist_of_its_side() -> None:
    """A right hand at the left wrist stays alone, even where there is no other."""
    x, y, _ = wrist(A, False)
    assert parts(assemble(bodies(A), hands((x, y, True)), faces(), PICTURE)) == ["b", "r"]


def test_one_hand_is_never_both_wrists() -> None:
    crossed = bodies(A)
    crossed.pose2d[0, 6] = crossed.pose2d[0, 7]
    people = assemble(crossed, hands(wrist(A, False)), faces(), PICTURE)
    assert parts(people) == ["bl"]


def test_the_nearer_of_two_hands_is_the_bodys() -> None:
    hand = hands(wrist(A, True, off=12), wrist(A, True, off=3))
    people = assemble(bodies(A), hand, faces(), PICTURE)
    assert parts(people) == ["br", "r"]
    np.testing.assert_array_equal(people.keypoints[:, RIGHT], hand.pose2d[[1, 0]])


@pytest.mark.parametrize(("times", "expected"), [(0.99, ["br"]), (1.01, ["b", "r"])])
def test_a_hand_reaches_as_far_as_it_is_large(times: float, expected: list[str]) -> None:
    box = hands(wrist(A, True)).box[0]
    reach = 1.2 * float((box[2:] - box[:2]).max())
    people = assemble(bodies(A), hands(wrist(A, True, off=-times * reach)), faces(), PICTURE)
    assert parts(people) == expected


def test_a_face_belongs_to_the_head_whose_crown_it_implies() -> None:
    """The other's crown is at the face's brows: nearer to the face, but not where its own crown should be."""
    behind = (A[0] + 5, A[1] + 20)
    for order in ((A, behind), (behind, A)):
        people = assemble(bodies(*order), hands(), faces(chin(A)), PICTURE)
        assert parts(people)[order.index(A)] == "bf"
        assert len(people) == 2


@pytest.mark.parametrize("angle", [-120, -90, -45, 45, 90, 180])
def test_a_face_finds_its_head_whichever_way_it_leans(angle: float) -> None:
    turn = np.deg2rad(angle)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]], np.float32)
    body, face = bodies(A), faces(chin(A))
    for part in (body, face):
        part.pose2d[:] = (part.pose2d - np.array(A)) @ rotation + np.array(A)
    face.box[:] = np.concatenate([face.pose2d.min(axis=1), face.pose2d.max(axis=1)], axis=1)
    assert parts(assemble(body, hands(), face, PICTURE)) == ["bf"]


def test_a_face_far_from_every_head_is_a_person() -> None:
    assert parts(assemble(bodies(A), hands(), faces(chin(B)), PICTURE)) == ["b", "f"]


def test_boxes_are_the_seen_keypoints_inside_the_picture() -> None:
    people = assemble(bodies((20, 450)), hands((300, 100, False)), faces(), PICTURE)
    hand = hands((300, 100, False)).pose2d[0]
    np.testing.assert_allclose(people.boxes[0], [0, 290, 100, 479])
    np.testing.assert_allclose(people.boxes[1], [*hand.min(axis=0), *hand.max(axis=0)])


def test_hands_must_say_which_side_they_are() -> None:
    hand = hands((1, 1, True))
    unsaid = Detections(hand.score, hand.pose2d, hand.pose3d, hand.label, None, hand.box)
    with pytest.raises(ValueError, match="do not say which are right"):
        assemble(bodies(), unsaid, faces(), PICTURE)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), b=st.integers(0, 4), h=st.integers(0, 6), f=st.integers(0, 4))
def test_every_part_is_in_exactly_one_person(seed: int, b: int, h: int, f: int) -> None:
    rng = np.random.default_rng(seed)
    at = rng.uniform(0, 400, (b + h + f, 2))
    hand = hands(*[(float(x), float(y), bool(rng.random() < 0.5)) for x, y in at[b : b + h]])
    body, face = bodies(*map(tuple, at[:b])), faces(*map(tuple, at[b + h :]))
    people = assemble(body, hand, face, PICTURE)
    assert people.has_part("body").tolist() == [True] * b + [False] * (len(people) - b)
    assert people.has_part("right_hand").sum() + people.has_part("left_hand").sum() == h
    assert people.has_part("face").sum() == f
    assert hand.is_right is not None
    for part, found in (
        (FACE, face.pose2d),
        (RIGHT, hand.pose2d[hand.is_right]),
        (LEFT, hand.pose2d[~hand.is_right]),
    ):
        rows = people.keypoints[(people.scores[:, part] > 0).any(axis=1)][:, part]
        assert sorted(rows.tolist()) == sorted(found.tolist())
    assert (people.scores > 0).any(axis=1).all()
