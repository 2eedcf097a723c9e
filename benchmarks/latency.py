"""Latency of a student's whole pipeline, and of PyTorch in its place: `wholebody bench latency STUDENT`.

Both run on the CPU inside the same pipeline (preprocess, network, postprocess), with as many threads, on the
same pictures, in turns (see `interleave`). PyTorch runs the checkpoint's network eagerly in FP32, its
BatchNorm folded as in the student.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wholebody.benchmarks.interleave import STAGES, Milliseconds, Ratio, interleave, ratio_of_medians
from wholebody.benchmarks.machine import Machine
from wholebody.benchmarks.synthetic import render_scene
from wholebody.runtime.artefact import Artefact, read_artefact
from wholebody.runtime.cpu import cores
from wholebody.runtime.errors import ArtefactError
from wholebody.runtime.geometry import letterbox, preprocess
from wholebody.runtime.loading import load_dope
from wholebody.runtime.media import Image, open_source
from wholebody.runtime.pipelines.dope import DopePose
from wholebody.runtime.spec import InputSpec

if TYPE_CHECKING:
    from wholebody.export.students.dope import Dope

__all__ = ["LatencyReport", "measure"]

FIRST_SEED, PICTURES, PICTURE_HW = 20_000_000, 20, (480, 640)
MOST_PICTURES = 50  # of a folder or video
PERCENTILES = (50, 90, 99)
LEAST_STAGED, MOST_STAGED = 3, 20  # frames of the network's stages
ONNX_RUNTIME, PYTORCH = "ONNX Runtime", "PyTorch"


@dataclass(frozen=True, eq=False)
class LatencyReport:
    """What `measure` found.

    times       by runner, milliseconds (rounds, frames, stages) in the order of `interleave.STAGES`
    ratios      PyTorch over ONNX Runtime, of "network" and "total"; empty without a checkpoint
    breakdown   median milliseconds of the PyTorch network's stages; empty without a checkpoint
    pictures    how many different ones; the frames go through them again and again
    """

    student: str
    sha256: str
    precision: str
    input_hw: tuple[int, int]
    proposals: int
    threads: int
    pictures: int
    backends: Mapping[str, str]
    times: Mapping[str, Milliseconds]
    ratios: Mapping[str, Ratio]
    breakdown: Mapping[str, float]
    machine: Machine

    def percentiles(self, runner: str) -> dict[str, dict[str, float]]:
        """Milliseconds by stage, then "p50", "p90" and "p99"."""
        frames = self.times[runner].reshape(-1, len(STAGES))
        values = np.percentile(frames, PERCENTILES, axis=0).T
        names = [f"p{p}" for p in PERCENTILES]
        return {s: dict(zip(names, map(float, v), strict=True)) for s, v in zip(STAGES, values, strict=True)}

    def frames_per_second(self, runner: str) -> float:
        """Of frames one after the other."""
        return 1e3 / float(self.times[runner][..., STAGES.index("total")].mean())

    def outside_network(self, runner: str) -> float:
        """The share of a frame's time that is not the network's."""
        network, total = (self.times[runner][..., STAGES.index(s)].sum() for s in ("network", "total"))
        return float(1 - network / total)

    def markdown(self) -> str:
        """Stage times, frames a second, the ratio, and where the network's time goes."""
        rounds, frames = next(iter(self.times.values())).shape[:2]
        height, width = self.input_hw
        lines = [
            f"Latency of {self.student} ({self.precision}, {width} x {height} pixels, {self.proposals} "
            f"proposals, SHA-256 {self.sha256[:12]}): {rounds * frames} frames in {rounds} rounds, "
            f"{self.pictures} pictures, {self.threads} threads.",
            "",
            *self._stage_table(),
            "",
            *(f"- {self._pace(runner)}" for runner in self.times),
            *(f"- {PYTORCH} / {ONNX_RUNTIME}, {stage}: {ratio}" for stage, ratio in self.ratios.items()),
            "",
            *(self._breakdown_table() if self.breakdown else ()),
            str(self.machine),
        ]
        return "\n".join(lines)

    def _stage_table(self) -> list[str]:
        by_runner = {runner: self.percentiles(runner) for runner in self.times}
        heads = [f"{runner} p{p}" for runner in by_runner for p in PERCENTILES]
        return [
            _row("milliseconds", heads),
            _row("---", ["---:"] * len(heads)),
            *(_row(s, [f"{v:.2f}" for t in by_runner.values() for v in t[s].values()]) for s in STAGES),
        ]

    def _pace(self, runner: str) -> str:
        outside = f"{100 * self.outside_network(runner):.1f} % of a frame outside the network"
        return f"{runner} ({self.backends[runner]}): {self.frames_per_second(runner):.1f} frames/s, {outside}"

    def _breakdown_table(self) -> list[str]:
        whole = sum(self.breakdown.values())
        return [
            _row("network in PyTorch", ["milliseconds", "share"]),
            _row("---", ["---:"] * 2),
            *(_row(s, [f"{ms:.2f}", f"{100 * ms / whole:.1f} %"]) for s, ms in self.breakdown.items()),
            "",
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; times in milliseconds."""
        return {
            "benchmark": "latency",
            "student": self.student,
            "sha256": self.sha256,
            "precision": self.precision,
            "input": list(self.input_hw),
            "proposals": self.proposals,
            "threads": self.threads,
            "pictures": self.pictures,
            "runners": {runner: self._runner(runner) for runner in self.times},
            "ratios": {stage: asdict(ratio) for stage, ratio in self.ratios.items()},
            "pytorch_stages": dict(self.breakdown),
            "machine": self.machine.to_dict(),
        }

    def _runner(self, runner: str) -> dict[str, Any]:
        return {
            "backend": self.backends[runner],
            "rounds": self.times[runner].shape[0],
            "frames": int(self.times[runner][..., 0].size),
            "frames_per_second": self.frames_per_second(runner),
            "outside_network": self.outside_network(runner),
            **self.percentiles(runner),
        }


def measure(
    student: Path,
    *,
    against: Path | None = None,
    images: Path | None = None,
    seconds: float = 20,
    threads: int | None = None,
) -> LatencyReport:
    """Time a student in ONNX Runtime on the CPU and, beside it, the checkpoint it came from in PyTorch.

    against   the checkpoint; None times the student alone
    images    a folder, picture or video, of which the first 50 frames are taken; None renders 20, 640 x 480
    seconds   how long to measure; warm-up, and at least three rounds of slow networks, come on top
    threads   of either; None: the physical cores this process may use

    Raises ArtefactError for a student that is not whole or came from another checkpoint, CheckpointError,
    BackendError, SourceError.
    """
    artefact, threads = read_artefact(student), cores() if threads is None else threads
    poses = {ONNX_RUNTIME: load_dope(student, backend="onnxruntime:CPUExecutionProvider", threads=threads)}
    machine, pictures = Machine.here(), _pictures(images)
    breakdown: dict[str, float] = {}
    if against is None:
        times = interleave(poses, pictures, seconds)
    else:
        times, breakdown = _beside_pytorch(poses, artefact, against, pictures, seconds, threads)
    return LatencyReport(
        student=artefact.spec.name,
        sha256=artefact.sha256,
        precision=artefact.spec.precision,
        input_hw=(artefact.spec.input.height, artefact.spec.input.width),
        proposals=_proposals(poses[ONNX_RUNTIME]),
        threads=threads,
        pictures=len(pictures),
        backends={runner: pose.backend.name for runner, pose in poses.items()},
        times=times,
        ratios=_ratios(times),
        breakdown=breakdown,
        machine=machine,
    )


def _pictures(images: Path | None) -> list[Image]:
    if images is None:
        return [render_scene(FIRST_SEED + i, PICTURE_HW).image for i in range(PICTURES)]
    with open_source(images) as source:
        return [frame.image for frame in islice(source.frames(), MOST_PICTURES)]


def _proposals(pose: DopePose) -> int:
    return next(spec.shape[0] or 0 for spec in pose.backend.outputs if spec.name == "boxes")


def _beside_pytorch(
    poses: dict[str, DopePose],
    artefact: Artefact,
    against: Path,
    pictures: list[Image],
    seconds: float,
    threads: int,
) -> tuple[dict[str, Milliseconds], dict[str, float]]:
    """`interleave` with PyTorch added to the pipelines, and where its network's time goes."""
    from wholebody.export.checkpoints import DopeCheckpoint, load_checkpoint
    from wholebody.export.reference import PyTorch, with_proposals
    from wholebody.export.stages import torch_threads

    checkpoint, spec = load_checkpoint(against, DopeCheckpoint), poses[ONNX_RUNTIME].spec
    if checkpoint.sha256 != spec.weights.sha256:
        raise ArtefactError(
            f"{artefact.path} was exported from {spec.weights.source} (SHA-256 {spec.weights.sha256[:12]}…), "
            f"not from {against} ({checkpoint.sha256[:12]}…): give that one, or export again"
        )
    proposals = _proposals(poses[ONNX_RUNTIME])
    poses[PYTORCH] = DopePose(PyTorch(checkpoint, (spec.input.height, spec.input.width), proposals), spec)
    with torch_threads(threads):
        times = interleave(poses, pictures, seconds)
        network = with_proposals(checkpoint.network, proposals)
        return times, _breakdown(network, spec.input, pictures, seconds / 4)


def _breakdown(network: Dope, spec: InputSpec, pictures: list[Image], seconds: float) -> dict[str, float]:
    """Median milliseconds of the network's stages over three to twenty frames."""
    from wholebody.export.stages import run_in_stages

    began = time.perf_counter()
    frames: list[dict[str, float]] = []
    for picture in islice(cycle(pictures), 1 + MOST_STAGED):
        box = letterbox((picture.shape[0], picture.shape[1]), spec)
        size = np.array(box.size, np.float32)
        frames.append(run_in_stages(network, preprocess(picture, box, spec), size)[1])
        if len(frames) > LEAST_STAGED and time.perf_counter() - began > seconds:
            break
    return {stage: float(np.median([f[stage] for f in frames[1:]])) for stage in frames[0]}


def _ratios(times: dict[str, Milliseconds]) -> dict[str, Ratio]:
    if PYTORCH not in times:
        return {}
    slow, fast = times[PYTORCH], times[ONNX_RUNTIME]
    return {
        stage: ratio_of_medians(slow[..., STAGES.index(stage)], fast[..., STAGES.index(stage)])
        for stage in ("network", "total")
    }


def _row(title: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join([title, *cells])} |"
