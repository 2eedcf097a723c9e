"""What the GPU's machine gets: students, in every precision, with inputs and the answers of ONNX Runtime."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from wholebody.benchmarks.engine_check.small_networks import SMALL, small_networks

__all__ = ["prepare"]

BATCHES = (1, 4, 16)
PEOPLE = 8  # in the picture of a top-down student


def prepare(folder: Path, students: list[Path], pictures: Path | None, *, reduced: bool = True) -> None:
    """Everything that the GPU needs and cannot make. reduced: FP16 and INT8 of each student, too."""
    folder.mkdir(parents=True, exist_ok=True)
    small_networks(folder)
    for student in students:
        shutil.copy(student, folder / student.name)
        sidecar = student.with_suffix(".json")
        if sidecar.is_file():
            shutil.copy(sidecar, folder / sidecar.name)
    for name in SMALL:
        save_answers(folder / f"{name}.onnx", pictures)
    for student in students:
        save_answers(folder / student.name, pictures)
        if reduced:
            reduce(folder / student.name, pictures)
    for onnx in sorted(folder.glob("*.onnx")):
        print(f"{onnx.name}: {onnx.stat().st_size / 1e6:.1f} MB")


def reduce(student: Path, pictures: Path | None) -> None:
    """student_fp16.onnx and student_int8.onnx, whose people are held against those of the FP32 student."""
    from wholebody.export.precision.quantizing import Precision, quantize

    halves: tuple[Precision, ...] = ("fp16", "int8")
    for precision in halves:
        output = student.with_name(f"{student.stem}_{precision}.onnx")
        quantize(
            student,
            output,
            precision=precision,
            target="tensorrt" if precision == "int8" else None,
            force=True,
        )
        save_answers(output, pictures, people=people_of(student, pictures))


def save_answers(path: Path, pictures: Path | None, people: dict[str, Any] | None = None) -> None:
    """`x.npz` beside x.onnx: for each case, inputs and ONNX Runtime's outputs, in order; and its people."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    arrays: dict[str, Any] = {}
    for number, inputs in enumerate(cases(path, list(session.get_inputs()), pictures)):
        for node, array in zip(session.get_inputs(), inputs, strict=True):
            arrays[f"{number}/in/{node.name}"] = array
        feeds = {node.name: a for node, a in zip(session.get_inputs(), inputs, strict=True)}
        for node, array in zip(session.get_outputs(), session.run(None, feeds), strict=True):
            arrays[f"{number}/out/{node.name}"] = array
    arrays |= people if people is not None else people_of(path, pictures)
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
