"""The benchmark of what surrounds a top-down student."""

from __future__ import annotations

import sys

import pytest

from wholebody.benchmarks.top_down_stages import CROP, SPLIT, crowd, main, plain_crops, plain_decode
from wholebody.benchmarks.top_down_stages import plain_oks_nms as suppress
from wholebody.runtime.kernels.crop import to_source
from wholebody.runtime.skeletons import WHOLEBODY133


def test_a_row_for_every_stage_and_number_of_people(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["top_down_stages", "--people", "0", "5", "--repeats", "1"])
    main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    stages = ["crops", "decode", "pose", "together"]
    assert [row[:2] for row in rows] == [[people, stage] for people in ("0", "5") for stage in stages]


def test_every_fourth_person_is_a_doubled_one() -> None:
    case = crowd(8)
    _, affines = plain_crops(case.image, case.boxes, CROP)
    keypoints, scores = plain_decode(case.simcc_x, case.simcc_y, SPLIT)
    kept = suppress(to_source(keypoints, affines), scores, case.score, case.areas, WHOLEBODY133.sigmas)
    assert len(kept) == 6
