"""A contender loaded in its worker: frames of a scene, timed stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from wholebody.benchmarks.latency.contenders import Contender
from wholebody.runtime.backends.backend import Backend, is_on_gpu
from wholebody.runtime.errors import BackendError
from wholebody.runtime.geometry import letterbox, preprocess
from wholebody.runtime.kernels.crop import Cropper, crop_affines
from wholebody.runtime.loading import load, load_detector
from wholebody.runtime.people import Floats
from wholebody.runtime.pipelines.dope import DopePose
from wholebody.runtime.pipelines.top_down import TopDownPose
from wholebody.runtime.spec import StudentSpec

if TYPE_CHECKING:
    from wholebody.benchmarks.latency.scenes import Scene
    from wholebody.export.torch_network import TorchNetwork

__all__ = ["Loaded", "Times", "is_torch"]

Times = dict[str, float]  # milliseconds by stage, and "total"; "people" counts who was found

LEAST_STAGED, MOST_STAGED = 3, 20  # frames of the network's stages


def is_torch(backend: str) -> bool:
    """Whether PyTorch runs it."""
    return backend.partition(":")[0] in ("pytorch", "torch.compile")


@dataclass(frozen=True, eq=False)
class Loaded:
    """A whole pipeline and the network in it."""

    contender: Contender
    pose: DopePose | TopDownPose
    backend: Backend

    @classmethod
    def open(cls, contender: Contender, detector: Path | None, threads: int) -> Loaded:
        """Load the files. Raises WholebodyError where one cannot be."""
        network = contender.network
        if is_torch(contender.backend):
            pose = _in_torch(contender, detector, threads)
        elif isinstance(network.spec, StudentSpec):
            pose = load(network.path, backend=contender.backend, threads=threads)
        else:
            pose = load(network.path, detector=detector, backend=contender.backend, threads=threads)
        return cls(contender, pose, pose.backend if isinstance(pose, DopePose) else pose.student)

    @property
    def fallback(self) -> str | None:
        """Why a faster way was passed over."""
        told: str | None = getattr(self.backend, "fallback", None)
        return told

    def frames(self, scene: Scene) -> Callable[[int], Times]:
        """`times = frame(i)` runs the scene's picture number i, counted round and round."""
        frame = self._batch(scene) if scene.batch is not None else self._whole(scene)
        if not self.contender.slowed:
            return frame
        return lambda index: _slowed(frame, index, self.contender.slowed)

    def _whole(self, scene: Scene) -> Callable[[int], Times]:
        run, count = self._run(scene), len(scene.pictures)
        detects = getattr(self.pose, "detector", None) is not None
        split: Times = getattr(self.backend, "stage_ms", {})

        def frame(index: int) -> Times:
            index %= count
            times: Times = {}
            picture = scene.pictures[index]
            if scene.encoded is not None:
                encoded, began = np.frombuffer(scene.encoded[index], np.uint8), time.perf_counter()
                picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR)  # type: ignore[assignment]
                times["decode"] = (time.perf_counter() - began) * 1e3
            split.clear()
            began = time.perf_counter()
            people, stages = run(picture, index)
            total = (time.perf_counter() - began) * 1e3
            if not detects:
                stages.pop("detect", None)
            return {**times, **stages, **split, "total": total, "people": float(people)}

        return frame

    def _run(self, scene: Scene) -> Callable[[Any, int], tuple[int, Times]]:
        """What is done with a picture: how many people came out, and the stages."""
        pose, boxes = self.pose, scene.boxes
        if isinstance(pose, DopePose) or (pose.detector is not None and not scene.given):

            def found(picture: Any, index: int) -> tuple[int, Times]:
                people = pose(picture)
                return len(people), dict(people.metadata["times_ms"])

            return found
        if boxes is None:
            raise BackendError(
                f"{pose.spec.name} needs a detector to find people in pictures of yours: --detector"
            )

        def given(picture: Any, index: int) -> tuple[int, Times]:
            began = time.perf_counter()
            if pose.detector is not None:
                pose.detect(picture)
            detect = (time.perf_counter() - began) * 1e3
            people = pose(picture, boxes[index])
            return len(people), {**people.metadata["times_ms"], "detect": detect}

        return given

    def _batch(self, scene: Scene) -> Callable[[int], Times]:
        """The network alone, with so many crops."""
        assert isinstance(self.pose, TopDownPose)
        assert scene.batch is not None
        kind = self.backend.inputs[0].dtype
        crops = _crops(self.pose, scene, scene.batch).astype(kind, copy=False)
        if is_on_gpu(self.backend):
            from wholebody.benchmarks.latency.on_gpu import network_on_gpu

            return network_on_gpu(self.backend, crops)
        split: Times = getattr(self.backend, "stage_ms", {})

        def run(index: int) -> Times:
            split.clear()
            began = time.perf_counter()
            self.backend(crops)
            total = (time.perf_counter() - began) * 1e3
            return {"network": total, **split, "total": total}

        return run

    def network_stages(self, scene: Scene, seconds: float) -> Times:
        """Median milliseconds of the stages of DOPE's network in PyTorch on the CPU; {} of any other."""
        if self.contender.backend != "pytorch" or not isinstance(self.pose, DopePose):
            return {}
        from wholebody.export.stages import run_in_stages

        network, spec = _torch_network(self.backend).network, self.pose.spec.input
        began, frames = time.perf_counter(), []
        for picture in islice(cycle(scene.pictures), 1 + MOST_STAGED):
            box = letterbox((picture.shape[0], picture.shape[1]), spec)
            size = np.array(box.size, np.float32)
            frames.append(run_in_stages(network, preprocess(picture, box, spec), size)[1])  # type: ignore[arg-type]
            if len(frames) > LEAST_STAGED and time.perf_counter() - began > seconds:
                break
        return {stage: float(np.median([f[stage] for f in frames[1:]])) for stage in frames[0]}


def _torch_network(backend: Any) -> TorchNetwork:
    return backend  # type: ignore[no-any-return]


def _in_torch(contender: Contender, detector: Path | None, threads: int) -> DopePose | TopDownPose:
    from wholebody.export.torch_network import load_torch_network

    network, spec = contender.network, contender.network.spec
    backend = load_torch_network(
        network.path, spec, contender.backend, proposals=network.proposals, threads=threads
    )
    if isinstance(spec, StudentSpec):
        return DopePose(backend, spec)
    return TopDownPose(backend, spec, load_detector(detector, threads=threads) if detector else None)


def _slowed(frame: Callable[[int], Times], index: int, share: float) -> Times:
    """The same frame, which takes longer by this share of its time."""
    times = frame(index)
    added = times["total"] * share
    until = time.perf_counter() + added / 1e3
    while time.perf_counter() < until:
        pass
    return {**times, "network": times["network"] + added, "total": times["total"] + added}


def _crops(pose: TopDownPose, scene: Scene, count: int) -> Floats:
    """(count, 3, h, w) of the scene's people."""
    assert scene.boxes is not None
    spec = pose.spec
    cut = Cropper(spec.input)

    def people() -> Iterator[Floats]:
        for picture, boxes in cycle(zip(scene.pictures, scene.boxes or (), strict=True)):
            affines = crop_affines(boxes, (spec.input.width, spec.input.height), spec.padding, udp=spec.udp)
            yield from cut(picture, affines).copy()

    return np.ascontiguousarray(np.stack(list(islice(people(), count))))
