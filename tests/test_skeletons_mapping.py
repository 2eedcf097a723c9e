"""DOPE's joints that COCO-WholeBody has too."""

from __future__ import annotations

from wholebody.runtime.skeletons import DOPE, DOPE_TO_WHOLEBODY, WHOLEBODY133

# By index, written out: DOPE's body -> COCO's.
BODY = {0: 16, 1: 15, 2: 14, 3: 13, 4: 12, 5: 11, 6: 10, 7: 9, 8: 8, 9: 7, 10: 6, 11: 5}
# A DOPE hand (wrist, five first joints, three more a finger) -> COCO's (wrist, four a finger).
HAND = [0, 1, 5, 9, 13, 17, 2, 3, 4, 6, 7, 8, 10, 11, 12, 14, 15, 16, 18, 19, 20]


def test_index_by_index() -> None:
    table = dict(DOPE_TO_WHOLEBODY)
    assert {a: b for a, b in table.items() if a < 13} == BODY
    for part, dope, coco in (("left_hand", 97, 91), ("right_hand", 118, 112)):
        assert DOPE.parts[part].start == dope
        assert [table[dope + i] - coco for i in range(21)] == HAND
    contour = [table[13 + i] - 23 for i in range(0, 33, 2)]
    assert contour == list(range(17))
    assert [table[13 + 33 + i] - 23 for i in range(51)] == list(range(17, 68))


def test_every_joint_at_most_once_and_all_that_both_have() -> None:
    dope, coco = zip(*DOPE_TO_WHOLEBODY, strict=True)
    assert len(set(dope)) == len(set(coco)) == len(DOPE_TO_WHOLEBODY) == 12 + 68 + 42
    assert list(dope) == sorted(dope)
    left_out = {WHOLEBODY133.joints[i] for i in set(range(133)) - set(coco)}
    feet = WHOLEBODY133.joints[WHOLEBODY133.parts["feet"]]
    assert left_out == {"nose", "left_eye", "right_eye", "left_ear", "right_ear", *feet}


def test_names_agree() -> None:
    """Body and face by their names; fingers by theirs, the n-th joint from the palm."""
    steps = {"mcp": "1", "pip": "2", "dip": "3", "tip": "4"}
    for a, b in DOPE_TO_WHOLEBODY:
        dope, coco = DOPE.joints[a], WHOLEBODY133.joints[b]
        if dope.startswith("face_contour_"):
            dope = f"face_contour_{int(dope[13:]) // 2}"
        finger, _, joint = dope.rpartition("_")
        assert coco == (finger + steps[joint] if joint in steps else dope)


def test_flipping_before_is_flipping_after() -> None:
    table = dict(DOPE_TO_WHOLEBODY)
    for a, b in DOPE_TO_WHOLEBODY:
        assert table[DOPE.flip_index[a]] == WHOLEBODY133.flip_index[b]


def test_limbs_of_hands_are_the_same() -> None:
    table = dict(DOPE_TO_WHOLEBODY)
    limbs = {frozenset(limb) for limb in WHOLEBODY133.limbs}
    for a, b in DOPE.limbs:
        if a >= 97:
            assert frozenset((table[a], table[b])) in limbs
