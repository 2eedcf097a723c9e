"""How fast an engine is beside PyTorch on the same GPU: the published sizes, with random weights.

Speed does not depend on what a network has learnt, and nobody may hand on DOPE's weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wholebody.benchmarks.engine_check.engines import Numbers, median, open_engine
from wholebody.benchmarks.engine_check.prepare import PEOPLE

__all__ = ["STEPS", "prepare_speed"]

DOPE, DWPOSE = "speed-dope", "speed-dwpose-l-384"
INPUT = 800, 1344  # of DOPE, whose shorter side is 800
AIMS = {"PyTorch FP32": 4.0, "PyTorch FP16": 2.0}  # times as fast, of DOPE in FP16
FRAMES_PER_SECOND = 220  # of dwpose-l with 8 people: ten times what the best-known public port reports
ROUNDS = 50


def sizes() -> tuple[Any, Any]:
    """Of DOPE, with ResNet-50 and 1,000 proposals as published, and of DWPose."""
    from wholebody.export.students.dope import DopeConfig
    from wholebody.export.students.rtmpose import RTMPOSE

    return DopeConfig(), RTMPOSE["l-384x288"]


def checkpoints() -> dict[str, Callable[[], Any]]:
    """The networks by name, each made anew with the same random weights."""
    import torch

    from wholebody.export.dope_checkpoint import DopeCheckpoint
    from wholebody.export.openmmlab import RtmPoseCheckpoint
    from wholebody.export.students.dope import PARTS, Dope
    from wholebody.export.students.rtmpose import RtmPose

    of_dope, of_dwpose = sizes()

    def dope() -> Any:
        torch.manual_seed(0)
        network = Dope(of_dope).eval()
        return DopeCheckpoint(
            network, of_dope, {part: {} for part in PARTS}, False, "0" * 64, "random weights"
        )

    def dwpose() -> Any:
        torch.manual_seed(0)
        return RtmPoseCheckpoint(RtmPose(of_dwpose).eval(), of_dwpose, "0" * 64, "random weights")

    return {DOPE: dope, DWPOSE: dwpose}


def prepare_speed(folder: Path) -> None:
    """speed-*.onnx in FP32, speed-*_fp16.onnx, and what they are run on."""
    for name, made in checkpoints().items():
        path = folder / f"{name}.onnx"
        export(made(), path)
        write_half(path)
        arrays = example(path)
        for onnx in (path, path.with_name(f"{name}_fp16.onnx")):
            np.savez_compressed(onnx.with_suffix(".npz"), **arrays)


def export(checkpoint: Any, path: Path) -> None:
    from wholebody.export.dope_checkpoint import DopeCheckpoint
    from wholebody.export.onnx import export_dope
    from wholebody.export.onnx_dwpose import export_dwpose
    from wholebody.runtime.media import Frame

    grey = Frame(np.full((*INPUT, 3), 128, np.uint8), "grey")
    if isinstance(checkpoint, DopeCheckpoint):
        export_dope(checkpoint, path, input_size=INPUT, images=[grey], force=True)
    else:
        export_dwpose(checkpoint, path, images=[grey], force=True)


def write_half(path: Path) -> None:
    """The same in FP16, but for what must not be; without certificate, as random people cannot drift."""
    from dataclasses import replace

    import onnx

    from wholebody.export.onnx_file import save
    from wholebody.export.precision.always import always_fp32
    from wholebody.export.precision.half import to_half
    from wholebody.runtime.artefact import read_artefact, write_artefact

    spec: Any = read_artefact(path).spec
    model = onnx.load(path)
    half = to_half(model, keep=always_fp32(model, spec))
    del half.metadata_props[:]
    output, spec = path.with_name(f"{path.stem}_fp16.onnx"), replace(spec, precision="fp16", certificate=None)
    save(half, spec, output)
    write_artefact(output, spec)


def example(path: Path) -> dict[str, Any]:
    """Inputs of the network, and a picture with boxes of eight people."""
    from wholebody.runtime.artefact import read_artefact
    from wholebody.runtime.spec import StudentSpec

    rng = np.random.default_rng(0)
    spec: Any = read_artefact(path).spec
    shape, count = (spec.input.height, spec.input.width), PEOPLE
    if isinstance(spec, StudentSpec):
        image = rng.normal(size=(1, 3, *shape)).astype(np.float32)
        return {"0/in/image": image, "0/in/size": np.array(shape, np.float32)}
    shares = np.array([[0.1 * i, 0.08 * i, 0.1 * i + 0.25, 0.08 * i + 0.4] for i in range(count)])
    return {
        "0/in/image": rng.normal(size=(count, 3, *shape)).astype(np.float32),
        "picture": rng.integers(0, 256, (1080, 1920, 3), np.uint8),
        "boxes": (shares * [1920, 1080, 1920, 1080]).astype(np.float32),
    }


def given(path: Path) -> dict[str, Any]:
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def step_beside(path: Path, frames: int) -> Numbers:
    """Milliseconds of the network alone on the GPU: the engine in FP32 and FP16, PyTorch in both."""
    arrays = given(path)
    numbers: Numbers = {}
    for name, stem in (("engine FP32", path.stem), ("engine FP16", f"{path.stem}_fp16")):
        network = open_engine(path.with_name(stem))
        numbers[name] = engine_ms(network, [arrays[f"0/in/{spec.name}"] for spec in network.inputs])
    numbers |= torch_ms(path.stem, [arrays[key] for key in ("0/in/image", "0/in/size") if key in arrays])
    ratios = {name: numbers[name] / numbers["engine FP16"] for name in AIMS if name in numbers}
    numbers["times_as_fast"] = {name: round(ratio, 2) for name, ratio in ratios.items()}
    if path.stem == DOPE and ratios:
        numbers["aims"] = AIMS
        numbers["aims_met"] = all(ratios[name] >= aim for name, aim in AIMS.items() if name in ratios)
    return numbers


def engine_ms(network: Any, inputs: list[Any]) -> float:
    cuda = network.cuda
    buffers = network.input_buffers(*(a.shape for a in inputs))
    for array, buffer in zip(inputs, buffers, strict=True):
        cuda.copy_in(array, buffer)
    times = []
    for i in range(ROUNDS + 10):
        start = cuda.event()
        network.enqueue(*buffers)
        if i >= 10:
            times.append(cuda.event().since(start))
    return median(times)


def torch_ms(name: str, inputs: list[Any]) -> Numbers:
    """PyTorch's own, eager, with cuDNN's choice of kernels; left out, and said, where it has no GPU."""
    try:
        import torch
    except ImportError as error:
        return {"left_out": f"PyTorch: {error}"}
    if not torch.cuda.is_available():
        return {"left_out": f"PyTorch {torch.__version__} has no GPU here"}
    torch.backends.cudnn.benchmark = True
    network = checkpoints()[name]().network.cuda()
    tensors = [torch.from_numpy(array).cuda() for array in inputs]
    numbers = {"PyTorch": torch.__version__, "PyTorch FP32": in_torch(lambda: network(*tensors))}
    with torch.autocast("cuda", torch.float16):
        numbers["PyTorch FP16"] = in_torch(lambda: network(*tensors))
    return numbers


def in_torch(run: Callable[[], Any]) -> float:
    import torch

    times = []
    with torch.inference_mode():
        for i in range(ROUNDS + 10):
            began: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            ended: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            began.record()
            run()
            ended.record()
            torch.cuda.synchronize()
            if i >= 10:
                times.append(began.elapsed_time(ended))
    return median(times)


def step_rate(path: Path, frames: int) -> Numbers:
    """Frames a second from a 1080p picture to eight people, one frame after the other."""
    from wholebody.benchmarks.engine_check.pipeline_steps import host_work, pipelines

    arrays = given(path)
    if "boxes" not in arrays:
        return {"left_out": "boxes are for top-down students"}
    inputs, pose = (arrays["picture"], arrays["boxes"]), pipelines(path)["gpu"]
    for _ in range(10):
        pose(*inputs)
    began = time.perf_counter()
    for _ in range(ROUNDS * 4):
        pose(*inputs)
    rate = ROUNDS * 4 / (time.perf_counter() - began)
    work = host_work(pose, inputs)
    return {
        "frames_per_second": round(rate, 1),
        "aim": FRAMES_PER_SECOND,
        "aim_met": rate >= FRAMES_PER_SECOND,
        **work,
    }


STEPS = {"beside": step_beside, "rate": step_rate}
