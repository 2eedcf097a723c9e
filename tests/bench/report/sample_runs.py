"""Runs as `wholebody bench` would have recorded them, made up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wholebody.benchmarks.runs import append_run, run_id

MACHINE: Mapping[str, Any] = {
    "host": "bench-1", "cpu": "AMD EPYC 9R14", "cores": 2, "mhz": 2600.0, "governor": None,
    "power_mode": None, "system": "Linux x86_64", "load": 0.12, "gpu": None,
    "versions": {"python": "3.11.9", "numpy": "2.4.1", "onnxruntime": "1.31.1", "torch": "2.13.0"},
}  # fmt: skip
ORT, TORCH, COMPILE = "onnxruntime:CPUExecutionProvider", "pytorch:2.13.0", "torch.compile:2.13.0"
SETTINGS: Mapping[str, Any] = {
    "pictures": "5f" * 32, "size": [480, 640], "people": 3, "batch": 1, "proposals": None, "pace_hz": None,
}  # fmt: skip
STAGES = {"preprocess": 0.03, "network": 0.9, "postprocess": 0.06}


def model(name: str = "dope-mini", precision: str = "fp32") -> dict[str, Any]:
    return {
        "name": name, "file": f"{name}-{precision}.onnx", "sha256": run_id({"n": name, "p": precision}) * 4,
        "family": "dope" if name.startswith("dope") else "top-down", "precision": precision, "verified": True,
        "megabytes": 14.8 if precision == "fp32" else 7.5,
    }  # fmt: skip


def latency_run(
    ms: float = 41.0,
    *,
    name: str = "dope-mini",
    precision: str = "fp32",
    backend: str = ORT,
    rounds: int = 20,
    frames: int = 10,
    noise: float = 0.03,
    seed: int = 0,
    group: str = "g1",
    machine: Mapping[str, Any] = MACHINE,
    **settings: Any,
) -> dict[str, Any]:
    """A run whose frames take about `ms`, a little longer now and then."""
    rng = np.random.default_rng(seed)
    drift = rng.normal(0, noise / 3, (rounds, 1))
    times = ms * np.exp(
        drift + rng.normal(0, noise, (rounds, frames)) + rng.gamma(0.3, noise, (rounds, frames))
    )
    asked = {**SETTINGS, **settings}
    told = model(name, precision)
    detector = None if name.startswith("dope") else model("rtmdet-nano")
    return {
        "kind": "latency", "id": run_id({"m": told["sha256"], "b": backend, "s": dict(asked)}),
        "group": group,
        "when": "2026-11-20T17:31:02Z",
        "command": f"wholebody bench latency {told['file']} --runs runs.jsonl",
        "git": "de2d80b", "machine": dict(machine), "model": told, "detector": detector, "backend": backend,
        "threads": 2, "settings": asked, "samples": times.size, "rounds": rounds,
        "ms": {stage: summary(times * share) for stage, share in {**STAGES, "total": 1.0}.items()},
        "times": np.round(times, 4).tolist(),
        "network_times": np.round(times * STAGES["network"], 4).tolist(),
        "memory": {"host_peak_mb": 214.5, "device_peak_mb": None}, "energy": None,
        "cold_start": {"import": 0.31, "load": 0.22, "first": 0.071},
    }  # fmt: skip


def summary(times: Any) -> dict[str, list[float]]:
    """Figures of (rounds, frames), each with an interval that is as wide as its rounds differ."""
    shares = {"p50": 50, "p90": 90, "p95": 95, "p99": 99, "max": 100}
    spread = 2 * float(np.median(times, axis=1).std()) / len(times) ** 0.5
    values = {name: float(np.percentile(times, share)) for name, share in shares.items()}
    return {name: [v, v - spread, v + spread] for name, v in values.items()}


METRICS: Mapping[str, tuple[str, str, str, float]] = {
    "body/ap": ("body: AP", "share", "higher", 0.622),
    "body/pck": ("PCK@0.1", "share", "higher", 0.901),
    "body/mpjpe": ("MPJPE", "mm", "lower", 133.0),
    "hand/recall": ("recall", "share", "higher", 0.634),
    "hand/pck": ("PCK@0.2", "share", "higher", 0.876),
    "hand/mpjpe": ("MPJPE", "mm", "lower", 23.2),
    "face/recall": ("recall", "share", "higher", 0.93),
    "face/nme": ("NME", "share", "lower", 0.059),
}


def accuracy_run(
    change: float = 0.0,
    *,
    name: str = "dope-mini",
    precision: str = "fp32",
    backend: str = ORT,
    dataset: str = "synthetic",
    machine: Mapping[str, Any] = MACHINE,
    worst: tuple[dict[str, Any], ...] = (),
) -> dict[str, Any]:
    """A run that is better than the reference by about `change` of every figure."""
    told = model(name, precision)
    asked = {
        "pictures": "ad" * 32,
        "size": [384, 384],
        "people": None,
        "batch": None,
        "proposals": 128,
        "pace_hz": None,
    }
    return {
        "kind": "accuracy", "id": run_id({"m": told["sha256"], "b": backend, "d": dataset}), "group": "a1",
        "when": "2026-11-20T17:41:40Z", "command": f"wholebody bench accuracy {told['file']} --dataset "
        "{dataset}",
        "git": "de2d80b", "machine": dict(machine), "model": told, "detector": None, "backend": backend,
        "threads": 2, "settings": asked, "dataset": {"name": dataset, "pictures": 500, "sha256": "ad" * 32},
        "metrics": {key: metric(*told_of, change) for key, told_of in METRICS.items()},
        "reference": {"backend": TORCH, "sha256": "0f" * 32}, "worst": list(worst), "ranked_by": "body/ap",
    }  # fmt: skip


def metric(title: str, unit: str, better: str, value: float, change: float) -> dict[str, Any]:
    moved = value * change * (1 if better == "higher" else -1)
    spread, apart = value * 0.02, value * (abs(change) / 4 + 1e-4)
    return {
        "title": title, "unit": unit, "better": better, "reference": value,
        "value": [value + moved, value + moved - spread, value + moved + spread],
        "difference": [moved, moved - apart, moved + apart],
    }  # fmt: skip


def suite(folder: Path | None = None) -> Iterator[dict[str, Any]]:
    """What a whole evening's measuring leaves: two students, three precisions, sweeps, paces, accuracy."""
    ways = (
        ("fp32", TORCH, 1.9, 0.0), ("fp32", COMPILE, 1.5, 0.0), ("fp32", ORT, 1.0, 0.0),
        ("fp16", ORT, 1.12, -0.001), ("int8", ORT, 0.62, -0.03),
    )  # fmt: skip
    for student, base, each in (("dope-mini", 40.0, 0.3), ("dwpose-mini", 6.0, 4.6)):
        for people in (3, 1, 2, 4, 8, 16):
            for seed, (precision, backend, factor, _) in enumerate(ways):
                yield latency_run(
                    (base + each * people) * factor, name=student, precision=precision, backend=backend,
                    people=people, seed=seed, group=f"{student}-{people}", noise=0.04,
                )  # fmt: skip
        for hz, slower in ((30.0, 1.09), (60.0, 1.04)):
            yield latency_run((base + each * 3) * slower, name=student, pace_hz=hz, group=f"{student}-{hz}")
    for proposals, ms in ((32, 30.0), (128, 41.0), (512, 78.0), (1000, 121.0)):
        yield latency_run(ms, proposals=proposals, group=f"p{proposals}")
    for student in ("dope-mini", "dwpose-mini"):
        for precision, backend, _, change in ways[2:]:
            yield accuracy_run(
                change, name=student, precision=precision, backend=backend,
                worst=drawn(folder) if folder and precision == "int8" else (),
            )  # fmt: skip


def small_suite(folder: Path) -> list[dict[str, Any]]:
    """One of everything that a report shows."""
    runs = []
    for people in (3, 1):
        for seed, (precision, backend, ms) in enumerate(
            (("fp32", TORCH, 76.0), ("fp32", ORT, 40.0), ("int8", ORT, 25.0))
        ):
            runs.append(
                latency_run(
                    ms + people,
                    precision=precision,
                    backend=backend,
                    people=people,
                    seed=seed,
                    group=f"g{people}",
                )
            )
    runs.append(latency_run(46.0, pace_hz=30.0, group="paced"))
    runs += [accuracy_run(), accuracy_run(-0.03, precision="int8", worst=drawn(folder))]
    return runs


def drawn(folder: Path) -> tuple[dict[str, Any], ...]:
    """Four pictures that came out badly, drawn into a folder."""
    import cv2

    (folder / "worst").mkdir(exist_ok=True)
    found = []
    for k in range(4):
        canvas = np.full((384, 768, 3), (60 + 30 * k, 90, 120), np.uint8)
        cv2.circle(canvas, (190, 190), 90 + 10 * k, (230, 230, 230), 6, cv2.LINE_AA)
        cv2.circle(canvas, (574, 190), 60 + 10 * k, (90, 200, 250), 6, cv2.LINE_AA)
        cv2.imwrite(str(folder / "worst" / f"{k}.png"), canvas)
        found.append(
            {"picture": f"scene {k:05d}", "figure": 0.1 * k, "reference": 0.9, "file": f"worst/{k}.png"}
        )
    return tuple(found)


def write(path: Path, *runs: Mapping[str, Any]) -> Path:
    """The file of these runs."""
    path.touch()
    for run in runs:
        append_run(path, run)
    return path
