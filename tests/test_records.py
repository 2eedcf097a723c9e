"""Results as JSON lines and back."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wholebody.runtime.errors import SourceError
from wholebody.runtime.media import Frame
from wholebody.runtime.people import People
from wholebody.runtime.records import Record, RecordWriter, read_records
from wholebody.runtime.skeletons import DOPE, DOPE_HAND, SKELETONS, Skeleton


def crowd(count: int, skeleton: Skeleton = DOPE, *, with_3d: bool = True, seed: int = 0) -> People:
    """People with every third keypoint unseen."""
    rng, k = np.random.default_rng(seed), len(skeleton)
    keypoints, keypoints3d = rng.normal(300, 200, (count, k, 2)), rng.normal(0, 0.5, (count, k, 3))
    scores = rng.uniform(0.1, 2, (count, k))
    keypoints[:, ::3], keypoints3d[:, ::3], scores[:, ::3] = np.nan, np.nan, 0
    return People(
        keypoints=keypoints.astype(np.float32),
        scores=scores.astype(np.float32),
        keypoints3d=keypoints3d.astype(np.float32) if with_3d else None,
        boxes=rng.uniform(0, 500, (count, 4)).astype(np.float32),
        score=rng.uniform(0, 3, count).astype(np.float32),
        skeleton=skeleton,
    )


def frame(index: int = 0, time_s: float = 0.0, name: str = "clip.mp4") -> Frame:
    return Frame(np.zeros((48, 64, 3), np.uint8), name, index, time_s, "video", 10.0)


def round_trip(path: Path, *people: People) -> list[Record]:
    with RecordWriter(path) as records:
        for k, each in enumerate(people):
            records.write(frame(k, k / 10), each)
    return list(read_records(path))


def same(people: People, back: People) -> None:
    assert back.skeleton is people.skeleton
    assert np.allclose(back.keypoints, people.keypoints, atol=0.0051, equal_nan=True)
    assert np.allclose(back.scores, people.scores, atol=0.000051)
    assert np.allclose(back.boxes, people.boxes, atol=0.0051)
    assert np.allclose(back.score, people.score, atol=0.000051)
    if people.keypoints3d is None:
        assert back.keypoints3d is None
    elif len(people):
        assert back.keypoints3d is not None
        assert np.allclose(back.keypoints3d, people.keypoints3d, atol=0.000051, equal_nan=True)


def test_nobody(tmp_path: Path) -> None:
    (record,) = round_trip(tmp_path / "x.jsonl", People.empty(DOPE, with_3d=True))
    assert len(record.people) == 0
    assert record.people.skeleton is DOPE


def test_no_frames(tmp_path: Path) -> None:
    assert round_trip(tmp_path / "x.jsonl") == []
    assert (tmp_path / "x.jsonl").read_bytes() == b""


@pytest.mark.parametrize("name", sorted(SKELETONS))
@pytest.mark.parametrize("with_3d", [True, False])
def test_people_come_back(tmp_path: Path, name: str, with_3d: bool) -> None:
    people = crowd(3, SKELETONS[name], with_3d=with_3d)
    (record,) = round_trip(tmp_path / "x.jsonl", people)
    same(people, record.people)


@settings(derandomize=True, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(0, 4), with_3d=st.booleans())
def test_any_people_come_back(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, with_3d: bool
) -> None:
    people = crowd(count, DOPE_HAND, with_3d=with_3d, seed=seed)
    (record,) = round_trip(tmp_path_factory.mktemp("records") / "x.jsonl", people)
    same(people, record.people)


def test_frames_come_back(tmp_path: Path) -> None:
    records = round_trip(tmp_path / "x.jsonl", crowd(1), People.empty(DOPE), crowd(2))
    assert [(r.source, r.frame, r.time, r.width, r.height, len(r.people)) for r in records] == [
        ("clip.mp4", 0, 0.0, 64, 48, 1), ("clip.mp4", 1, 0.1, 64, 48, 0), ("clip.mp4", 2, 0.2, 64, 48, 2),
    ]  # fmt: skip


def test_metadata_comes_back_as_plain_values(tmp_path: Path) -> None:
    times = MappingProxyType({"network": np.float32(12.5), "sizes": np.array([1, 2])})
    people = crowd(1).with_metadata(backend="onnxruntime", stage_ms=times, path=Path("a"))
    (record,) = round_trip(tmp_path / "x.jsonl", people)
    assert record.people.metadata == {
        "backend": "onnxruntime", "stage_ms": {"network": 12.5, "sizes": [1, 2]}, "path": "a",
    }  # fmt: skip


def test_each_line_is_on_disk_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    records = RecordWriter(path)
    for k in range(3):
        records.write(frame(k), crowd(1))
        lines = path.read_text().splitlines()
        assert [json.loads(line)["frame"] for line in lines] == list(range(k + 1))
    records.close()


def test_lines_are_json_for_everybody(tmp_path: Path) -> None:
    round_trip(tmp_path / "x.jsonl", crowd(2))
    (line,) = (tmp_path / "x.jsonl").read_text().splitlines()
    content = json.loads(line, parse_constant=pytest.fail)  # NaN and Infinity are no JSON
    assert list(content)[:5] == ["source", "frame", "time", "width", "height"]
    assert content["people"][0]["keypoints"][0] is None


def test_a_box_that_is_no_number_is_refused(tmp_path: Path) -> None:
    people = People(
        keypoints=np.zeros((1, 21, 2), np.float32), scores=np.ones((1, 21), np.float32), keypoints3d=None,
        boxes=np.full((1, 4), np.nan, np.float32), score=np.ones(1, np.float32), skeleton=DOPE_HAND,
    )  # fmt: skip
    with RecordWriter(tmp_path / "x.jsonl") as records, pytest.raises(ValueError, match="JSON compliant"):
        records.write(frame(), people)
    assert (tmp_path / "x.jsonl").read_bytes() == b""


def test_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with RecordWriter("-") as records:
        records.write(frame(), crowd(1))
    assert json.loads(capsys.readouterr().out)["source"] == "clip.mp4"
    print("still open")


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match=r"cannot write .*x\.jsonl: "):
        RecordWriter(tmp_path / "file" / "x.jsonl")


@pytest.mark.skipif(sys.platform == "win32", reason="needs file locks")
def test_two_runs_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("of an earlier run")
    with RecordWriter(path) as records:
        records.write(frame(), crowd(1))
        with pytest.raises(SourceError, match="another run is writing it"):
            RecordWriter(path)
        records.write(frame(), crowd(2))
    assert [len(record.people) for record in read_records(path)] == [1, 2]
    RecordWriter(path).close()
    assert path.read_text() == ""


def test_the_folder_is_made(tmp_path: Path) -> None:
    RecordWriter(tmp_path / "a" / "b" / "x.jsonl").close()
    assert list(read_records(tmp_path / "a" / "b" / "x.jsonl")) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told() -> None:
    with pytest.raises(SourceError, match="No space left"), RecordWriter("/dev/full") as records:
        records.write(frame(), crowd(1))


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line[: len(line) // 2],
        lambda line: "[]",
        lambda line: "null",
        lambda line: line.replace("dope139", "unheard_of"),
        lambda line: line.replace("dope139", "dope_hand21"),
        lambda line: line.replace('"frame":0', '"frame":null'),
        lambda line: line.replace('"box":[', '"box":["x",'),
        lambda line: line.replace('"keypoints":[null', '"keypoints":[[1,2,3]'),
        lambda line: "[" * 100_000,
    ],
)
def test_a_line_that_is_no_record(tmp_path: Path, change: Callable[[str], str]) -> None:
    path = tmp_path / "x.jsonl"
    round_trip(path, crowd(2))
    good = path.read_text()
    path.write_text(good + change(good.strip()) + "\n")
    records = read_records(path)
    assert len(next(records).people) == 2
    with pytest.raises(SourceError, match="line 2 is no record of people") as caught:
        next(records)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_binary(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b"\xff\xfe\x00")
    for name, reason in (("missing.jsonl", "No such file or directory;"), ("x.jsonl", "it is no text;")):
        with pytest.raises(SourceError, match=rf"cannot read .*{name}: {reason}"):
            next(read_records(tmp_path / name))
