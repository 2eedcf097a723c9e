#!/usr/bin/env python3
"""TensorRT engines on a real GPU against ONNX Runtime's answers, measured and timed; one JSON.

    python scripts/trt_check.py prepare FOLDER STUDENT.onnx … [--pictures FOLDER]
    python scripts/trt_check.py run FOLDER [--output FILE | --into FILE]

`prepare` runs anywhere: it copies the students, makes small networks, and saves inputs with ONNX Runtime's
answers. `run` is for the GPU and needs TensorRT, pycuda and NumPy only, and OpenCV for whole pipelines. Each
of its steps is a process of its own, so that a crash in one ends no other; the smallest network comes first.
It exits with 1 where a step failed, and prints which and why. `--into` adds the report to that of
`gpu_check`. Where there is no TensorRT, it says so and leaves everything out.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

BATCHES = (1, 4, 16)
SMALL = ("conv", "half", "int8", "nonzero")
# The largest difference from ONNX Runtime as a share of the largest value: in FP32, and in less.
LIMIT, LIMITS = 2e-3, {"half": 1e-2, "int8": 2e-2}
STEP_SECONDS = 400
PEOPLE = 8  # in the picture of a top-down student
Numbers = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    prepared = commands.add_parser("prepare")
    prepared.add_argument("folder", type=Path)
    prepared.add_argument("students", type=Path, nargs="*")
    prepared.add_argument("--pictures", type=Path)
    run = commands.add_parser("run")
    run.add_argument("folder", type=Path)
    run.add_argument("--output", type=Path, default=Path("trt_check.json"))
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
        return 0
    if given.command == "step":
        return one_step(given.name, given.folder, given.output, given.frames)
    status = run_all(given.folder, given.output, given.frames, given.only)
    if given.into:
        entries = json.loads(given.into.read_text("utf-8")) if given.into.is_file() else {}
        report = json.loads(given.output.read_text("utf-8"))
        given.into.write_text(json.dumps({**entries, "tensorrt": report}, indent=1) + "\n", "utf-8")
    return status


# --- prepare ------------------------------------------------------------------------------------------------


def prepare(folder: Path, students: list[Path], pictures: Path | None) -> None:
    """Everything that the GPU machine needs and cannot make."""
    import shutil

    folder.mkdir(parents=True, exist_ok=True)
    small_networks(folder)
    for student in students:
        shutil.copy(student, folder / student.name)
        sidecar = student.with_suffix(".json")
        if sidecar.is_file():
            shutil.copy(sidecar, folder / sidecar.name)
    for onnx in sorted(folder.glob("*.onnx")):
        save_answers(onnx, pictures)
        print(f"{onnx.name}: {onnx.stat().st_size / 1e6:.1f} MB")


def small_networks(folder: Path) -> None:
    """A convolution in FP32, FP16 and INT8, and a network whose output has a size that only the run tells."""
    import onnx
    from onnx import TensorProto, helper

    for kind in SMALL:
        nodes, weights = small_network(kind)
        shape: list[Any] = [64] if kind == "nonzero" else ["batch", 3, 32, 32]
        answer: list[Any] = [1, "count"] if kind == "nonzero" else ["batch", 8, 32, 32]
        answered = TensorProto.INT32 if kind == "nonzero" else TensorProto.FLOAT
        graph = helper.make_graph(
            nodes,
            kind,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", answered, answer)],
            weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(onnx.shape_inference.infer_shapes(model), folder / f"{kind}.onnx")


def small_network(kind: str) -> tuple[list[Any], list[Any]]:
    """Nodes and weights, from x to y."""
    from onnx import TensorProto, helper, numpy_helper

    def node(operator: str, inputs: str, output: str, **attributes: Any) -> Any:
        return helper.make_node(operator, inputs.split(), [output], output, **attributes)

    values = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32)
    arrays: dict[str, Any] = {"w": values}
    pads = {"pads": [1, 1, 1, 1]}
    if kind == "nonzero":
        return [node("NonZero", "x", "found"), node("Cast", "found", "y", to=TensorProto.INT32)], []
    if kind == "conv":
        nodes = [node("Conv", "x w", "y", **pads)]
    elif kind == "half":
        arrays["w"] = values.astype(np.float16)
        nodes = [
            node("Cast", "x", "x16", to=TensorProto.FLOAT16), node("Conv", "x16 w", "y16", **pads),
            node("Cast", "y16", "y", to=TensorProto.FLOAT),
        ]  # fmt: skip
    else:
        steps = (np.abs(values).max((1, 2, 3)) / 127).astype(np.float32)
        bytes_ = np.rint(values / steps[:, None, None, None]).astype(np.int8)
        arrays = {"w8": bytes_, "steps": steps, "zeros": np.zeros(8, np.int8)}
        arrays |= {"step": np.float32(4 / 127), "zero": np.int8(0)}
        nodes = [
            node("QuantizeLinear", "x step zero", "x8"), node("DequantizeLinear", "x8 step zero", "xq"),
            node("DequantizeLinear", "w8 steps zeros", "w", axis=0), node("Conv", "xq w", "y", **pads),
        ]  # fmt: skip
    return nodes, [numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()]


def save_answers(path: Path, pictures: Path | None) -> None:
    """`x.npz` beside x.onnx: for each case, inputs and ONNX Runtime's outputs, in order."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    arrays: dict[str, Any] = {}
    for number, inputs in enumerate(cases(path, session.get_inputs(), pictures)):
        for node, array in zip(session.get_inputs(), inputs, strict=True):
            arrays[f"{number}/in/{node.name}"] = array
        feeds = {node.name: a for node, a in zip(session.get_inputs(), inputs, strict=True)}
        for node, array in zip(session.get_outputs(), session.run(None, feeds), strict=True):
            arrays[f"{number}/out/{node.name}"] = array
    arrays |= people_of(path, pictures)
    np.savez_compressed(path.with_suffix(".npz"), **arrays)


def people_of(path: Path, pictures: Path | None) -> dict[str, Any]:
    """A picture, with boxes where the student wants them, and the people whom ONNX Runtime finds."""
    from wholebody.runtime.artefact import is_exported, read_artefact
    from wholebody.runtime.backends.onnxrt import OnnxRuntime
    from wholebody.runtime.pipelines.dope import DopePose
    from wholebody.runtime.pipelines.top_down import TopDownPose
    from wholebody.runtime.spec import StudentSpec

    if not is_exported(path):
        return {}
    spec: Any = read_artefact(path).spec
    inputs = {"picture": dope_pictures(pictures)[0]}
    network = OnnxRuntime(path, providers=["CPUExecutionProvider"])
    if isinstance(spec, StudentSpec):
        people = DopePose(network, spec)(inputs["picture"])
    else:
        height, width = inputs["picture"].shape[:2]
        shares = np.array([[0.1 * i, 0.08 * i, 0.1 * i + 0.25, 0.08 * i + 0.4] for i in range(PEOPLE)])
        inputs["boxes"] = (shares * [width, height, width, height]).astype(np.float32)
        people = TopDownPose(network, spec)(inputs["picture"], inputs["boxes"])
    return {**inputs, "keypoints": people.keypoints, "scores": people.scores}


def dope_pictures(pictures: Path | None) -> list[Any]:
    import cv2

    found = sorted(pictures.rglob("*.jpg"))[:2] if pictures else []
    images: list[Any] = [cv2.imread(str(p)) for p in found]
    return [*images, np.random.default_rng(2).integers(0, 255, (480, 640, 3), np.uint8)]


def cases(path: Path, nodes: list[Any], pictures: Path | None) -> list[list[Any]]:
    """Inputs: pictures for a student that takes whole pictures, else noise."""
    rng = np.random.default_rng(1)
    names = [node.name for node in nodes]
    if names == ["image", "size"]:
        return dope_cases(path, pictures)
    if path.stem == "nonzero":
        return [[(rng.random(64) < share).astype(np.float32)] for share in (0.5, 0.0, 1.0)]
    shape = nodes[0].shape
    batch = shape[0] if isinstance(shape[0], int) else max(BATCHES)
    return [[(rng.integers(-128, 128, (batch, *shape[1:])) / 64).astype(np.float32)]]


def dope_cases(path: Path, pictures: Path | None) -> list[list[Any]]:
    from wholebody.runtime.artefact import read_artefact
    from wholebody.runtime.geometry import Preprocessor, letterbox

    spec: Any = read_artefact(path).spec
    preprocess, answers = Preprocessor(spec.input), []
    for image in dope_pictures(pictures):
        box = letterbox(image.shape[:2], spec.input)
        answers.append([np.array(preprocess(image, box)), np.array(box.size, np.float32)])
    return answers


# --- run ----------------------------------------------------------------------------------------------------


def run_all(folder: Path, output: Path, frames: int, only: list[str]) -> int:
    """Every step in a process of its own; the file is written anew after each."""
    students = sorted(p.stem for p in folder.glob("*.onnx") if p.stem not in SMALL)
    names = ["environment"] + [f"{step}:{small}" for small in SMALL for step in ("build", "compare")]
    for student in students:
        names += [f"build:{student}", f"compare:{student}", f"time:{student}", f"threads:{student}"]
    names += ["options:conv", "refusals:conv", "memory:conv", *(f"memory:{s}" for s in students)]
    names += [f"people:{s}" for s in students] + ["rebuild:" + s for s in students]
    report: Numbers = {}
    if missing := left_out():
        print(f"left out: {missing}")
        output.write_text(json.dumps({"left_out": missing}) + "\n", "utf-8")
        return 0
    for name in [n for n in names if not only or any(part in n for part in only)]:
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
    command = [sys.executable, __file__, "step", name, str(folder), str(result), "--frames", str(frames)]
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
    from importlib.util import find_spec

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


# --- steps --------------------------------------------------------------------------------------------------


def step_environment(path: Path, frames: int) -> Numbers:
    import tensorrt as trt  # pyright: ignore[reportMissingImports]

    from wholebody.runtime.cuda import Cuda

    cuda = Cuda()
    query = "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.limit,memory.total,pstate"
    command = f"nvidia-smi --query-gpu={query} --format=csv,noheader || true"
    smi = subprocess.run(command, shell=True, capture_output=True, text=True)
    return {
        "python": platform.python_version(), "numpy": np.__version__, "tensorrt": trt.__version__,
        "gpu": cuda.name, "capability": cuda.capability, "driver_cuda": cuda.driver,
        "nvidia_smi": dict(zip(query.split(","), smi.stdout.strip().split(", "), strict=False)),
    }  # fmt: skip


def step_build(path: Path, frames: int) -> Numbers:
    built = build(path, rebuild=True)
    return {"seconds": round(built.seconds, 2), "mb": size_mb(path), "layers": built.plan.layers}


def step_rebuild(path: Path, frames: int) -> Numbers:
    """With the timings of the first build, and once more, which must not build at all."""
    again, reused = build(path, rebuild=True), build(path)
    return {
        "ok": reused.reused, "with_timing_cache_s": round(again.seconds, 2),
        "recognised_s": round(reused.seconds, 3),
    }  # fmt: skip


def step_compare(path: Path, frames: int) -> Numbers:
    """Every case three times, so that the graph's answers are compared, too."""
    network, ok = open_engine(path), True
    worst: dict[str, float] = {}
    for inputs, outputs in saved(path, network):
        for _ in range(3):
            answers = network(*inputs)
        got = dict(zip([s.name for s in network.outputs], answers, strict=True))
        for what, value, limit in differences(got, outputs, LIMITS.get(path.stem, LIMIT)):
            worst[what] = max(worst.get(what, 0.0), value)
            ok = ok and value <= limit
    rounded = {what: float(f"{value:.4g}") for what, value in worst.items()}
    return {"ok": ok, "worst": rounded, "graph_failure": network.graph_failure}


def differences(got: Numbers, want: Numbers, limit: float) -> list[tuple[str, float, float]]:
    """What differs, by how much, and how much may."""
    if "boxes" in got:
        return dope_differences(got, want)
    found = []
    for name, array in want.items():
        if got[name].shape != array.shape:
            return [(f"{name}: shape {got[name].shape} instead of {array.shape}", 1.0, 0.0)]
        scale = float(np.abs(array).max()) if array.size else 1.0
        error = float(np.abs(got[name].astype(np.float64) - array).max(initial=0.0)) / max(scale, 1e-9)
        found.append((f"{name}: largest difference / largest value", error, limit))
        if name.startswith("simcc"):
            moved = np.abs(got[name].argmax(-1) - array.argmax(-1))
            found.append((f"{name}: share of bins that moved", float((moved > 0).mean()), 0.02))
    return found


def dope_differences(got: Numbers, want: Numbers) -> list[tuple[str, float, float]]:
    """Proposals are matched by their boxes first: two that score nearly alike may change places."""
    real = want["boxes"].any(axis=1)
    distance = np.abs(want["boxes"][real][:, None] - got["boxes"][None]).max(-1)
    match, matched = distance.argmin(1), distance.min(1) < 0.05
    found = [("share of proposals without a match", 1 - float(matched.mean()) if real.any() else 0.0, 0.03)]
    for name, limit in (("scores", 2e-3), ("pose2d", 0.1), ("pose3d", 2e-3)):
        for part in ("body", "hand", "face"):
            ours = got[f"{part}_{name}"][match[matched]]
            theirs = want[f"{part}_{name}"][real][matched]
            found.append((f"{part}_{name}", float(np.abs(ours - theirs).max(initial=0.0)), limit))
    return found


def step_time(path: Path, frames: int) -> Numbers:
    """Milliseconds on the GPU and of the CPU, with CUDA graphs and without, by batch."""
    numbers: Numbers = {}
    for graphs in (True, False):
        network = open_engine(path, graphs=graphs)
        for inputs, _ in saved(path, network):
            label = "x".join(map(str, inputs[0].shape))
            entry = numbers.setdefault(label, {})
            entry["graph" if graphs else "plain"] = measure(network, inputs)
        numbers["graph_failure" if graphs else "plain_only"] = network.graph_failure
        if graphs:
            numbers["scratch_mb"] = round(network._scratch.nbytes / 1e6, 1)
    return numbers


def measure(network: Any, inputs: list[Any], rounds: int = 200) -> Numbers:
    cuda = network.cuda
    buffers = network.input_buffers(*(a.shape for a in inputs))
    for array, buffer in zip(inputs, buffers, strict=True):
        cuda.copy_in(np.ascontiguousarray(array), buffer)
    for _ in range(20):
        network.enqueue(*buffers)
    cuda.synchronize()
    on_gpu, submitted = [], []
    for _ in range(rounds):
        start = cuda.event()
        began = time.perf_counter()
        network.enqueue(*buffers)
        submitted.append((time.perf_counter() - began) * 1e3)
        on_gpu.append(cuda.event().since(start))
    whole = []
    for _ in range(rounds):
        began = time.perf_counter()
        network(*inputs)
        whole.append((time.perf_counter() - began) * 1e3)
    return {
        "gpu_ms": median(on_gpu), "submit_ms": median(submitted), "numpy_to_numpy_ms": median(whole),
        "numpy_to_numpy_p99_ms": round(float(np.percentile(whole, 99)), 4),
    }  # fmt: skip


def step_threads(path: Path, frames: int) -> Numbers:
    """Eight threads on one engine: nobody gets another's answer."""
    network = open_engine(path)
    found = saved(path, network)
    alone = [network(*inputs) for inputs, _ in found]
    wrong: list[str] = []
    calls = max(10, min(1000, frames // 20))

    def work(number: int) -> None:
        try:
            for call in range(calls):
                which = (number + call) % len(found)
                for got, want in zip(network(*found[which][0]), alone[which], strict=True):
                    if got.shape != want.shape or not np.allclose(got, want, rtol=1e-3, atol=1e-3):
                        wrong.append(f"thread {number}, call {call}")
        except Exception as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    return {
        "ok": not wrong, "calls": 8 * calls, "wrong": wrong[:5],
        "calls_per_second": round(8 * calls / seconds, 1),
    }  # fmt: skip


def step_memory(path: Path, frames: int) -> Numbers:
    """Memory of the process and of the GPU over many frames, after the first tenth."""
    network = open_engine(path)
    found = saved(path, network)
    deadline = time.perf_counter() + STEP_SECONDS / 4
    marks, done = [], 0
    while done < frames and time.perf_counter() < deadline:
        network(*found[done % len(found)][0])
        done += 1
        if done in (frames // 10, frames // 2) or done % 5000 == 0:
            marks.append(memory(network.cuda))
    marks.append(memory(network.cuda))
    host, device = (marks[-1][i] - marks[0][i] for i in (0, 1))
    ok = host < 8 and device <= 2
    return {"ok": ok, "frames": done, "host_growth_mb": round(host, 2), "gpu_growth_mb": round(device, 2)}


def memory(cuda: Any) -> tuple[float, float]:
    """Megabytes in use: of this process, and of the GPU."""
    with cuda.active():
        free, total = cuda._driver.mem_get_info()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, (total - free) / 1e6


def step_options(path: Path, frames: int) -> Numbers:
    """Each option of a build, on a small network: it builds, and it runs."""
    numbers: Numbers = {}
    choices: dict[str, Numbers] = {
        "level 0": {"optimization_level": 0}, "level 5": {"optimization_level": 5}, "refit": {"refit": True},
        "workspace": {"workspace": 0.5}, "hardware": {"hardware": "ampere+"}, "tf32": {"tf32": True},
        "version-compatible": {"version_compatible": True}, "batch": {"batch": (2, 2, 4)},
    }  # fmt: skip
    for name, options in choices.items():
        output = path.with_name(f"options-{name.replace(' ', '-')}.engine")
        try:
            seconds = build(path, output, rebuild=True, **options).seconds
            network = open_engine(path, output)
            batch = np.zeros((2, *network.inputs[0].shape[1:]), np.float32)
            numbers[name] = {
                "seconds": round(seconds, 2),
                "finite": bool(np.isfinite(network(batch)[0]).all()),
            }
        except Exception as error:
            numbers[name] = {"error": repr(error)[:400]}
    return {"ok": all("error" not in entry for entry in numbers.values()), **numbers}


def step_refusals(path: Path, frames: int) -> Numbers:
    """Bad engines and full memory: an error that tells, and the next call works."""
    network = open_engine(path)
    inputs, outputs = saved(path, network)[0]
    told = {
        "damaged": told_of(lambda: open_engine(path, damaged(path))),
        "another GPU": told_of(lambda: open_engine(path, changed(path, gpu="NVIDIA Other"))),
        "another TensorRT": told_of(lambda: open_engine(path, changed(path, tensorrt="10.1.0"))),
        "outside the profile": told_of(lambda: network(np.zeros((99, *inputs[0].shape[1:]), np.float32))),
        "no memory": told_of(lambda: network.cuda.empty(1 << 46, np.uint8)),
        "fork": told_in_a_fork(network, inputs),
        "not an ONNX file": told_of(lambda: build(unsupported(path))),
    }
    answer = network(*inputs)[0]
    error = float(np.abs(answer - outputs[network.outputs[0].name]).max())
    ok = error < 0.1 and all(text and "Error" in text for text in told.values())
    return {"ok": ok, "told": told, "after_all_that": error}


def told_of(action: Callable[[], Any]) -> str | None:
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    return None


def told_in_a_fork(network: Any, inputs: list[Any]) -> str | None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, (told_of(lambda: network(*inputs)) or "").encode())
        os._exit(0)
    os.close(writer)
    text = os.read(reader, 4096).decode()
    os.waitpid(child, 0)
    return text


def damaged(path: Path) -> Path:
    copy = changed(path)
    copy.write_bytes(copy.read_bytes()[:-100])
    return copy


def changed(path: Path, **entries: Any) -> Path:
    """A copy of an engine whose sidecar says something else."""
    engine = path.with_suffix(".engine")
    copy = path.with_name("changed.engine")
    copy.write_bytes(engine.read_bytes())
    plan = json.loads(Path(f"{engine}.json").read_text("utf-8"))
    Path(f"{copy}.json").write_text(json.dumps({**plan, **entries}), "utf-8")
    return copy


def unsupported(path: Path) -> Path:
    """The small network with an operator that nobody has."""
    copy = path.with_name("unsupported.onnx")
    copy.write_bytes(path.with_suffix(".onnx").read_bytes().replace(b"Conv", b"Cnov"))
    return copy.with_suffix("")


def step_people(path: Path, frames: int) -> Numbers:
    """Whole pipelines on the engine, in NumPy and on the GPU: ONNX Runtime's people, and times."""
    if open_engine(path).plan.student is None:
        return {"left_out": "not a student of wholebody"}
    try:
        poses = pipelines(path)
    except ImportError as error:
        return {"left_out": f"needs OpenCV: {error}"}
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as file:
        inputs = [file[name] for name in ("picture", "boxes") if name in file]
        keypoints, scores = file["keypoints"], file["scores"]
    numbers: Numbers = {"wanted": len(keypoints)}
    for name, pose in poses.items():
        people = pose(*inputs)
        same = people.keypoints.shape == keypoints.shape
        pixels = float(np.nanmax(np.abs(people.keypoints - keypoints), initial=0.0)) if same else 1e9
        score = float(np.abs(people.scores - scores).max(initial=0.0)) if same else 1e9
        times = on_the_clock(pose, inputs)
        numbers[name] = {
            "people": len(people), "largest_px": pixels, "largest_score": score, **times,
            "graph_failure": pose._replay.failure if hasattr(pose, "_replay") else None,
        }  # fmt: skip
    numbers["ok"] = all(numbers[name]["largest_px"] < 0.5 for name in poses)
    return numbers


def pipelines(path: Path) -> dict[str, Any]:
    """What the runtime may do with an engine."""
    from wholebody.runtime.pipelines.dope import DopePose
    from wholebody.runtime.pipelines.dope_gpu import GpuDopePose
    from wholebody.runtime.pipelines.top_down import TopDownPose
    from wholebody.runtime.pipelines.top_down_gpu import GpuTopDownPose
    from wholebody.runtime.spec import StudentSpec, spec_from_dict

    spec: Any = spec_from_dict(open_engine(path).plan.student)
    dope = isinstance(spec, StudentSpec)
    in_numpy, on_gpu = (DopePose, GpuDopePose) if dope else (TopDownPose, GpuTopDownPose)
    network = open_engine(path)
    buckets = {} if dope else {"buckets": network.buckets}
    plain: Any = on_gpu(open_engine(path, graphs=False), spec)
    plain._replay.failure = "not asked for"
    return {
        "numpy": in_numpy(network, spec, **buckets),
        "gpu": on_gpu(network, spec),
        "gpu, no graphs": plain,
    }


def on_the_clock(pose: Any, inputs: list[Any], rounds: int = 200) -> Numbers:
    """Milliseconds from a picture in memory to people, and the medians of the stages."""
    for _ in range(rounds // 10):
        pose(*inputs)
    times, stages = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        people = pose(*inputs)
        times.append((time.perf_counter() - began) * 1e3)
        stages.append(people.metadata["times_ms"])
    return {
        "ms": median(times), "p99_ms": round(float(np.percentile(times, 99)), 4),
        "stages_ms": {name: median([stage[name] for stage in stages]) for name in stages[0]},
    }  # fmt: skip


STEPS: dict[str, Callable[[Path, int], Numbers]] = {
    name.removeprefix("step_"): step for name, step in globals().items() if name.startswith("step_")
}


# --- engines ------------------------------------------------------------------------------------------------


def build(path: Path, output: Path | None = None, *, rebuild: bool = False, **options: Any) -> Any:
    from wholebody.export.build_plan import BuildOptions, plan_build
    from wholebody.export.engine import build_engine

    plan = plan_build(path.with_suffix(".onnx"), output, BuildOptions(**options))
    return build_engine(plan, rebuild=rebuild, timing_cache=path.parent / "timing.cache")


def open_engine(path: Path, engine: Path | None = None, **options: Any) -> Any:
    from wholebody.runtime.backends.trt import TensorRT

    return TensorRT(engine or path.with_suffix(".engine"), **options)


def saved(path: Path, network: Any) -> list[tuple[list[Any], Numbers]]:
    """Inputs in the engine's order, and ONNX Runtime's outputs by name; an open batch in several sizes."""
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    numbers = sorted({int(key.split("/")[0]) for key in arrays if "/" in key})
    found = [
        (
            [arrays[f"{n}/in/{spec.name}"] for spec in network.inputs],
            {spec.name: arrays[f"{n}/out/{spec.name}"] for spec in network.outputs},
        )
        for n in numbers
    ]
    if network.inputs[0].shape[0] is not None:
        return found
    inputs, outputs = found[0]
    return [([a[:b] for a in inputs], {name: a[:b] for name, a in outputs.items()}) for b in BATCHES]


def median(values: list[float]) -> float:
    return round(float(np.median(values)), 4)


def size_mb(path: Path) -> float:
    return round(path.with_suffix(".engine").stat().st_size / 1e6, 2)


if __name__ == "__main__":
    sys.exit(main())
