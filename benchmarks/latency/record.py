"""A contender's rounds as a line of the file of runs (docs/runs.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wholebody.benchmarks.interleave import Milliseconds, ratio_of_medians
from wholebody.benchmarks.latency.contenders import Contender, Network
from wholebody.benchmarks.latency.crew import Member
from wholebody.benchmarks.latency.figures import figures
from wholebody.benchmarks.latency.scenes import Scene
from wholebody.benchmarks.latency.turns import Timed
from wholebody.benchmarks.runs import run_id
from wholebody.runtime.spec import AnySpec, TopDownSpec, verified

__all__ = ["identity", "model_entry", "record", "settings_of"]

STAGES = ("decode", "detect", "preprocess", "upload", "network", "download", "postprocess", "total")


def model_entry(file: str, sha256: str, spec: AnySpec, size: int) -> dict[str, Any]:
    """The entry "model" of a run, for a file of `size` bytes."""
    return {
        "name": spec.name,
        "file": file,
        "sha256": sha256,
        "family": spec.family,
        "precision": spec.precision,
        "verified": None if spec.certificate is None else verified(spec),
        "megabytes": round(size / 1e6, 1),
    }


def settings_of(scene: Scene, network: Network) -> dict[str, Any]:
    """The entry "settings"; of a batch the size is that of the crops."""
    settings = scene.settings(network.proposals)
    if scene.batch is not None and isinstance(network.spec, TopDownSpec):
        settings["size"] = [network.spec.input.height, network.spec.input.width]
    return settings


def identity(
    contender: Contender,
    scene: Scene,
    beside: Sequence[Contender],
    *,
    detector: Mapping[str, Any] | None,
    threads: int,
    seconds: float,
) -> str:
    """The entry "id": the same where the same is asked for, in turns with the same others."""
    return run_id(
        {
            "kind": "latency",
            "model": contender.network.sha256,
            "backend": contender.backend,
            "detector": detector and detector["sha256"],
            "threads": threads,
            "seconds": seconds,
            "settings": settings_of(scene, contender.network),
            "decode": scene.encoded is not None,
            "beside": sorted([c.network.sha256, c.backend] for c in beside),
        }
    )


def record(
    contender: Contender,
    member: Member,
    timed: Timed,
    scene: Scene,
    *,
    base: tuple[str, Timed] | None,
    detector: Mapping[str, Any] | None,
    host_peak_mb: float | None,
    network_stages: Mapping[str, float],
) -> dict[str, Any]:
    """The entries of a run but those that tell where it came from.

    base      the id of whoever it is compared with, and what that one did
    detector  its `model_entry`
    """
    network = contender.network
    boxed = isinstance(network.spec, TopDownSpec) and scene.batch is None
    return {
        "model": model_entry(network.path.name, network.sha256, network.spec, network.path.stat().st_size),
        "detector": dict(detector) if detector is not None and boxed else None,
        "backend": member.backend,
        "settings": settings_of(scene, network),
        "samples": sum(len(times) for times in timed.rounds),
        "rounds": len(timed.rounds),
        "warm_up": {"frames": timed.warm[0], "stable": timed.warm[1]},
        "found": round(float(np.mean(timed.of("people"))), 2) if "people" in timed.stages else None,
        "ms": {stage: figures(timed.of(stage)) for stage in STAGES if stage in timed.stages},
        "over": None if base is None else _over(timed, *base),
        "times": _rounded(timed, "total"),
        "network_times": _rounded(timed, "network"),
        "network_stages": {stage: round(ms, 3) for stage, ms in network_stages.items()} or None,
        "memory": {"host_peak_mb": _tenth(host_peak_mb), "device_peak_mb": _tenth(timed.device_peak_mb)},
        "energy": _energy(timed, member),
        "cold_start": member.cold_start,
    }


def _over(timed: Timed, identity: str, base: Timed) -> dict[str, Any]:
    """How many times its milliseconds the base's are."""
    return {
        "id": identity,
        **{stage: _ratio(base.of(stage), timed.of(stage)) for stage in ("network", "total")},
    }


def _ratio(slow: Milliseconds, fast: Milliseconds) -> list[float] | None:
    """None where there was nothing to do, as for the network where nobody is in the picture."""
    if slow.min() <= 0 or fast.min() <= 0:
        return None
    ratio = ratio_of_medians(slow, fast)
    return [round(number, 4) for number in (ratio.value, ratio.low, ratio.high)]


def _energy(timed: Timed, member: Member) -> dict[str, Any] | None:
    if timed.joules is None or member.meter is None:
        return None
    return {
        "joules_per_frame": round(timed.joules / timed.frames, 4),
        "watts": round(timed.joules / timed.seconds, 2),
        "source": member.meter.source,
    }


def _rounded(timed: Timed, stage: str) -> list[list[float]]:
    return [[round(ms, 3) for ms in times] for times in timed.of(stage).tolist()]


def _tenth(megabytes: float | None) -> float | None:
    return None if megabytes is None else round(megabytes, 1)
