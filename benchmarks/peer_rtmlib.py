"""wholebody beside rtmlib, from picture to people, with the same two ONNX files in the same process.

rtmlib (Tau-J/rtmlib, Apache-2.0) is the nearest package of its kind: a detector, then one crop at a time.
Both run in ONNX Runtime on the CPU with their own settings, on the same cores and photographs, in turns (see
`interleave`). A photograph counts for N people where both detectors find exactly N in it, so that both do the
same work. The keypoints differ, for rtmlib feeds blue, green and red where red, green and blue were trained;
that costs it no time.

rtmlib takes ONNX Runtime's defaults, with which the threads of its detector still spin while its student
runs. So it is timed a second time with sessions like ours, where they do not: what is left is its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import rtmlib

from wholebody.benchmarks.interleave import STAGES, Milliseconds, Ratio, interleave, ratio_of_medians
from wholebody.benchmarks.machine import Machine
from wholebody.benchmarks.timed_networks import BackendSession, TimedBackend, TimedSession, Watch
from wholebody.runtime.backends.onnxrt import OnnxRuntime
from wholebody.runtime.errors import ArtefactError, SourceError
from wholebody.runtime.media import Image, open_source
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.pipelines.top_down import TopDownPose
from wholebody.runtime.spec import DetectorSpec, TopDownSpec

__all__ = ["Crowd", "PeerReport", "measure_peer"]

OURS, RTMLIB, RTMLIB_LIKE_OURS = "wholebody", "rtmlib", "rtmlib, sessions like ours"
CPU = "CPUExecutionProvider"
MOST_PICTURES = 200
PAUSE = 0.3  # seconds; the threads of rtmlib's sessions spin for tens of milliseconds after a frame
NETWORK, TOTAL = STAGES.index("network"), STAGES.index("total")


@dataclass(frozen=True)
class Frame:
    """What `interleave` asks of a pipeline: the milliseconds of its stages."""

    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Runner:
    """A whole pipeline: `detect` answers how many boxes there are, calling it runs everything."""

    detect: Callable[[Image], int]
    pose: Callable[[Image], Any]
    watch: Watch

    def __call__(self, image_bgr: Image) -> Frame:
        self.watch.ms, began = 0.0, time.perf_counter()
        self.pose(image_bgr)
        other = (time.perf_counter() - began) * 1e3 - self.watch.ms
        return Frame({"times_ms": {"preprocess": 0.0, "network": self.watch.ms, "postprocess": other}})


@dataclass(frozen=True, eq=False)
class Crowd:
    """The photographs with so many people.

    times   by runner, milliseconds (rounds, frames, stages) in the order of `interleave.STAGES`; "network" is
            the detector's and the student's, "postprocess" everything else
    ratios  by runner but ours, its median over ours
    """

    people: int
    pictures: int
    times: Mapping[str, Milliseconds]
    ratios: Mapping[str, Ratio]

    def median(self, runner: str) -> float:
        """Milliseconds a frame."""
        return float(np.median(self.times[runner][..., TOTAL]))

    def outside_networks(self, runner: str) -> float:
        """The share of a frame's time that is not the networks'."""
        network, total = (self.times[runner][..., stage].sum() for stage in (NETWORK, TOTAL))
        return float(1 - network / total)

    def rows(self) -> list[str]:
        """One a runner."""
        where = f"{self.people} ({self.pictures})"
        return [_row(where if name == OURS else "", [name, *self._cells(name)]) for name in self.times]

    def _cells(self, runner: str) -> list[str]:
        ratio = str(self.ratios[runner]) if runner in self.ratios else ""
        return [f"{self.median(runner):.1f}", ratio, f"{100 * self.outside_networks(runner):.1f} %"]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; times in milliseconds."""
        runners = {
            name: {
                "median_ms": self.median(name),
                "outside_networks": self.outside_networks(name),
                "frames": int(times[..., TOTAL].size),
            }
            for name, times in self.times.items()
        }
        ratios = {name: asdict(ratio) for name, ratio in self.ratios.items()}
        return {"people": self.people, "pictures": self.pictures, "runners": runners, "ratios": ratios}


@dataclass(frozen=True, eq=False)
class PeerReport:
    """What `measure_peer` found."""

    student: str
    detector: str
    peer: str
    crowds: Sequence[Crowd]
    machine: Machine
    benchmark: str = field(default="peer", init=False)

    def markdown(self) -> str:
        """A row for each number of people and package."""
        heads = ["", "median ms", "over ours", "outside the networks"]
        return "\n".join(
            [
                f"{self.student} with {self.detector}: {OURS} beside {self.peer}, whole frames.",
                "",
                _row("people (photographs)", heads),
                _row("---", ["---", *["---:"] * 3]),
                *(row for crowd in self.crowds for row in crowd.rows()),
                "",
                str(self.machine),
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "benchmark": self.benchmark,
            "student": self.student,
            "detector": self.detector,
            "peer": self.peer,
            "crowds": [crowd.to_dict() for crowd in self.crowds],
            "machine": self.machine.to_dict(),
        }


def measure_peer(
    student: tuple[Path, TopDownSpec],
    detector: tuple[Path, DetectorSpec],
    *,
    images: Path,
    people: Sequence[int] = (1, 8),
    seconds: float = 20,
) -> PeerReport:
    """Time both packages on the photographs of a folder.

    student, detector   ONNX files and what they are; a SimCC student in 2D, a detector with suppression in
                        its graph, which is all that rtmlib takes from both
    people              numbers of people to measure with
    seconds             how long, for each of them

    Raises ArtefactError for files that rtmlib does not take, BackendError, and SourceError where no
    photograph has so many people.
    """
    _check(student[1], detector[1])
    runners = {
        OURS: _ours(student, detector),
        RTMLIB: _rtmlib(student, detector),
        RTMLIB_LIKE_OURS: _rtmlib(student, detector, like_ours=True),
    }
    machine = Machine.here()
    chosen = _by_people(images, people, runners.values())
    return PeerReport(
        student=student[1].name,
        detector=detector[1].name,
        peer=f"{RTMLIB} {version(RTMLIB)}",
        crowds=[_measured(number, pictures, runners, seconds) for number, pictures in chosen.items()],
        machine=machine,
    )


def _check(student: TopDownSpec, detector: DetectorSpec) -> None:
    if student.head != "simcc" or student.depth is not None:
        raise ArtefactError(
            f"{student.name} has a head of {student.head}; {RTMLIB} is compared on SimCC in 2D"
        )
    if detector.layout != "suppressed":
        raise ArtefactError(
            f"{detector.name} has no suppression in its graph; {RTMLIB} would answer other boxes"
        )


def _ours(student: tuple[Path, TopDownSpec], detector: tuple[Path, DetectorSpec]) -> Runner:
    watch = Watch()
    heads, body = (TimedBackend(OnnxRuntime(path, providers=[CPU]), watch) for path, _ in (detector, student))
    detect = PersonDetector(heads, detector[1])
    return Runner(lambda image: len(detect(image)[0]), TopDownPose(body, student[1], detect), watch)


def _rtmlib(
    student: tuple[Path, TopDownSpec], detector: tuple[Path, DetectorSpec], *, like_ours: bool = False
) -> Runner:
    """Its `Custom` solution; RTMDet normalises, YOLOX does not."""
    inputs, crop, watch = detector[1].input, student[1].input, Watch()
    with redirect_stdout(StringIO()):  # it announces every file
        solution = rtmlib.Custom(
            det_class="RTMDet" if any(inputs.mean) else "YOLOX",
            det=str(detector[0]),
            det_input_size=(inputs.height, inputs.width),
            pose_class="RTMPose",
            pose=str(student[0]),
            pose_input_size=(crop.width, crop.height),
            backend="onnxruntime",
            device="cpu",
        )
    for tool in (solution.det_model, solution.pose_model):
        if like_ours:
            tool.session = BackendSession(OnnxRuntime(tool.onnx_model, providers=[CPU]))
        tool.session = TimedSession(tool.session, watch)
    return Runner(lambda image: len(solution.det_model(image)), solution, watch)


def _by_people(images: Path, people: Sequence[int], runners: Iterable[Runner]) -> dict[int, list[Image]]:
    """The photographs in which every runner finds the same number of people, by that number."""
    chosen: dict[int, list[Image]] = {number: [] for number in people}
    with open_source(images) as source:
        for frame in islice(source.frames(), MOST_PICTURES):
            (number, *others) = {runner.detect(frame.image) for runner in runners}
            if not others and number in chosen:
                chosen[number].append(frame.image)
    for number, pictures in chosen.items():
        if not pictures:
            raise SourceError(f"{images} has no photograph in which both find {number} people: give others")
    return chosen


def _measured(people: int, pictures: list[Image], runners: Mapping[str, Runner], seconds: float) -> Crowd:
    times = interleave(runners, pictures, seconds, pause=PAUSE)
    ours = times[OURS][..., TOTAL]
    ratios = {name: ratio_of_medians(t[..., TOTAL], ours) for name, t in times.items() if name != OURS}
    return Crowd(people, len(pictures), times, ratios)


def _row(title: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join([title, *cells])} |"
