"""`python -m wholebody.benchmarks.engine_check`: see the package."""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import wholebody.benchmarks.engine_check as package
from wholebody.benchmarks.engine_check import fault_steps, network_steps, pipeline_steps, speed
from wholebody.benchmarks.engine_check.engines import Numbers, is_reduced
from wholebody.benchmarks.engine_check.prepare import prepare
from wholebody.benchmarks.engine_check.small_networks import SMALL
from wholebody.benchmarks.engine_check.speed import prepare_speed

MODULE = "wholebody.benchmarks.engine_check"
STEP_SECONDS = 600
STEPS: dict[str, Callable[[Path, int], Numbers]] = {
    **network_steps.STEPS, **fault_steps.STEPS, **pipeline_steps.STEPS, **speed.STEPS,
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=str(package.__doc__).splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    prepared = commands.add_parser("prepare", help="on any machine: copy students, save inputs and answers")
    prepared.add_argument("folder", type=Path)
    prepared.add_argument("students", type=Path, nargs="*")
    prepared.add_argument("--pictures", type=Path)
    prepared.add_argument("--speed", action="store_true", help="large networks, too, with random weights")
    run = commands.add_parser("run", help="on the machine with the GPU")
    run.add_argument("folder", type=Path)
    run.add_argument("--output", type=Path, default=Path("engine_check.json"))
    run.add_argument("--into", type=Path, help="a JSON file that gets the report as its entry 'tensorrt'")
    run.add_argument("--frames", type=int, default=20_000)
    run.add_argument("--only", nargs="*", default=[], help="steps whose names hold one of these")
    step = commands.add_parser("step")
    step.add_argument("name")
    step.add_argument("folder", type=Path)
    step.add_argument("output", type=Path)
    step.add_argument("--frames", type=int, default=20_000)
    given = parser.parse_args()
    if given.command == "prepare":
        prepare(given.folder, given.students, given.pictures)
        if given.speed:
            prepare_speed(given.folder)
        return 0
    if given.command == "step":
        return one_step(given.name, given.folder, given.output, given.frames)
    status = run_all(given.folder, given.output, given.frames, given.only)
    if given.into:
        entries = json.loads(given.into.read_text("utf-8")) if given.into.is_file() else {}
        report = json.loads(given.output.read_text("utf-8"))
        given.into.write_text(json.dumps({**entries, "tensorrt": report}, indent=1) + "\n", "utf-8")
    return status


def names_of(folder: Path) -> list[str]:
    """All steps, the quickest and most basic ones first."""
    stems = [path.stem for path in sorted(folder.glob("*.onnx"))]
    large = [stem for stem in stems if stem.startswith("speed-")]
    students = [stem for stem in stems if stem not in (*SMALL, *large)]
    names = ["environment"] + [f"{step}:{small}" for small in SMALL for step in ("build", "compare")]
    for student in students:
        names += [f"{step}:{student}" for step in ("build", "compare", "people", "inputs", "time")]
    names += [f"{step}:conv" for step in ("options", "refusals", "memory")]
    names += [f"build:{stem}" for stem in large]
    names += [f"beside:{stem}" for stem in large if not is_reduced(Path(stem))]
    names += [f"rate:{stem}" for stem in large if is_reduced(Path(stem))]
    whole = [student for student in students if not is_reduced(Path(student))]
    return names + [f"{step}:{s}" for step in ("threads", "crowd", "lost", "long", "rebuild") for s in whole]


def run_all(folder: Path, output: Path, frames: int, only: list[str]) -> int:
    """Every step in a process of its own; the file is written anew after each."""
    report: Numbers = {}
    if missing := left_out():
        print(f"left out: {missing}")
        output.write_text(json.dumps({"left_out": missing}) + "\n", "utf-8")
        return 0
    for name in [n for n in names_of(folder) if not only or any(part in n for part in only)]:
        report[name] = outcome(name, folder, frames)
        output.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
        verdict = "ok" if report[name]["ok"] else f"FAILED: {report[name].get('error', '')[-1500:]}"
        numbers = {k: v for k, v in report[name].items() if k not in ("ok", "error", "log")}
        print(f"{name:<28}{verdict} {json.dumps(numbers)[:900]}", flush=True)
    failed = [name for name, result in report.items() if not result["ok"]]
    print(f"{len(report) - len(failed)} of {len(report)} steps passed; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def left_out() -> str | None:
    """Why nothing can be run here."""
    for module in ("tensorrt", "pycuda.driver"):
        command = [sys.executable, "-c", f"import {module}"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment())
        if done.returncode:
            return f"engines: {done.stderr.strip().splitlines()[-1]}"
    return None


def outcome(name: str, folder: Path, frames: int) -> Numbers:
    result = folder / f".{name.replace(':', '-')}.json"
    result.unlink(missing_ok=True)
    command = [sys.executable, "-m", MODULE, "step", name, str(folder), str(result), "--frames", str(frames)]
    began = time.perf_counter()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=STEP_SECONDS, env=environment()
        )
        error = "" if done.returncode == 0 else f"exit {done.returncode}: {done.stderr[-3000:]}"
        log = done.stderr[-1500:]
    except subprocess.TimeoutExpired as timeout:
        error, log = f"longer than {STEP_SECONDS} s", str(timeout.stderr or "")[-1500:]
    numbers: Numbers = json.loads(result.read_text("utf-8")) if result.is_file() else {}
    wall = round(time.perf_counter() - began, 1)
    entry = {"ok": not error and numbers.get("ok", True), "wall_s": wall, **numbers}
    if error:
        entry["error"] = error
    if not entry["ok"]:
        entry["log"] = log
    return entry


def environment() -> dict[str, str]:
    """With TensorRT's own folder of libraries, where its wheel brought them."""
    spec = find_spec("tensorrt_libs")
    folders = list(spec.submodule_search_locations or []) if spec else []
    paths = [*folders, os.environ.get("LD_LIBRARY_PATH", "")]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(p for p in paths if p), "PYTHONFAULTHANDLER": "1"}


def one_step(name: str, folder: Path, output: Path, frames: int) -> int:
    logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(message)s")
    kind, _, student = name.partition(":")
    try:
        numbers = STEPS[kind](folder / student, frames)
    except Exception:
        traceback.print_exc()
        return 1
    output.write_text(json.dumps(numbers), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
