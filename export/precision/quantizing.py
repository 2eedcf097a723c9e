"""A student in reduced precision, measured before it is written: what `wholebody quantize` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from onnx import ModelProto

from wholebody.export.onnx_file import checked_output, save, versions
from wholebody.export.person_boxes import Boxes, boxes_from
from wholebody.export.precision.calibration import (
    ADVISED,
    BUNDLED,
    HELD_OUT,
    Samples,
    boxes_of_manifest,
    samples,
)
from wholebody.export.precision.certificate import PrecisionCertificate, certify
from wholebody.export.precision.choosing import TRIED, choose_method
from wholebody.export.precision.drift import PrecisionBudget
from wholebody.export.precision.int8 import Method, Target, calibrate
from wholebody.export.precision.ledger import Ledger, default_ledger
from wholebody.export.precision.mixes import Mix, Mixes
from wholebody.export.precision.original import Original, open_original
from wholebody.export.precision.recover import Recovery, recover
from wholebody.export.precision.search import Searched, search_mix
from wholebody.export.precision.sensitivity import Sensitivity, measure_sensitivity
from wholebody.runtime.artefact import Artefact, sidecar_path, write_artefact
from wholebody.runtime.errors import DriftError, WholebodyError
from wholebody.runtime.pipelines.detector import PersonDetector
from wholebody.runtime.pipelines.dope import DopePose
from wholebody.runtime.published.detector import Kind
from wholebody.runtime.spec import DetectorSpec, StudentSpec
from wholebody.runtime.whole import whole

__all__ = ["Precision", "Quantized", "Report", "quantize"]

Precision = Literal["fp16", "int8"]
Report = Callable[[str, int, int], None]  # what is done, how much of it, and of how much (0: unknown)
Source = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class Quantized:
    """What `quantize` wrote, and what it found on the way.

    warnings               about the pictures
    sensitivity, searched  of a search, else None
    before                 what it drifted before it was recovered, else None
    """

    artefact: Artefact
    certificate: PrecisionCertificate
    warnings: tuple[str, ...]
    sensitivity: Sensitivity | None = None
    searched: Searched | None = None
    before: PrecisionCertificate | None = None


def quantize(
    student: str | Path,
    output: str | Path | None = None,
    *,
    precision: Precision,
    target: Target | None = None,
    calibration: Source = BUNDLED,
    held_out: Source | None = None,
    count: int = ADVISED,
    method: Method | None = None,
    boxes: str | Path | Boxes | None = None,
    detector: PersonDetector | None = None,
    budget: PrecisionBudget | None = None,
    search: bool = False,
    recovery: Recovery | None = None,
    force: bool = False,
    kind: Kind | None = None,
    options: Mapping[str, Any] | None = None,
    report: Report | None = None,
) -> Quantized:
    """Write `output`, a student in reduced precision, and its sidecar, once its drift from FP32 is measured.

    student      an FP32 ONNX file: exported with its sidecar, or published by others
    output       None writes student_int8.onnx or student_fp16.onnx beside it
    target       of "int8": "tensorrt", or "cpu" for onnxruntime
    calibration  pictures: a folder, files or a video; the bundled ones unless told
    held_out     pictures to measure on; None takes those that belong to the bundled ones, or else every third
                 picture of the source, which is then not calibrated on
    count        pictures to calibrate on at most
    method       how the ranges of INT8 are cut; None takes that with which the student drifts least
    boxes        and detector: where a top-down student's people are, as for `samples`
    search       keep in floating point what the budget does not allow: the cheapest mix that fits
    recovery     train what is over budget on its own FP32 answers; None leaves it as it is
    force        write what is over budget, too, with a certificate that says so
    kind         of a published detector, and
    options      what else a published file does not tell, see `open_original`

    Raises DriftError where it is over budget and not forced; ArtefactError for a student that is not whole or
    not FP32; SourceError for pictures that do not serve; WholebodyError for options that do not go together.
    """
    tell: Report = report or (lambda what, done, total: None)
    target = _checked_target(precision, target)
    _check_recovery(recovery, precision, search)
    output = _checked_output(Path(student), output, precision)
    original = open_original(Path(student), kind, options or {})
    tell("reading the pictures", 0, 0)
    to_calibrate, to_measure = _pictures(original, calibration, held_out, count, boxes, detector)
    budget = budget or PrecisionBudget()
    method = _calibrated(original, to_calibrate, method, precision, target, budget, tell)
    ledger = Ledger(default_ledger(original.sha256)) if search else None
    mixes = Mixes(
        original.model, original.spec, to_calibrate, to_measure, target=target, method=method, ledger=ledger
    )
    sensitivity = _sensitivity(mixes, precision, tell) if search else None
    searched = _searched(mixes, sensitivity, budget, tell) if sensitivity else None
    mix = searched.chosen.mix if searched else _everything(mixes, precision)
    tell("measuring the drift", 0, 0)
    model = mixes.build(mix)
    certificate = certify(model, original.backend, original.origin, original.spec, to_measure, budget)
    how: dict[str, Any] = {"calibration": {"target": target, "method": method, **_told(to_calibrate)}}
    before = None
    if recovery is not None and not certificate.passed:
        tell("reading the pictures to recover with", 0, 0)
        to_learn = _to_learn(recovery, original, boxes, detector) or to_calibrate
        model, before = _recovered(model, original, to_learn, recovery, tell), certificate
        certificate = certify(model, original.backend, original.origin, original.spec, to_measure, budget)
        how["recovery"] = {
            "layers": recovery.layers, "steps": recovery.steps, **_told(to_learn),
            "before": before.drift.to_dict()["parts"],
        }  # fmt: skip
    _require_budget(certificate, searched, force)
    artefact = _written(output, model, original, {**certificate.to_dict(), **how})
    warnings = (
        *to_calibrate.warnings,
        *(f"held out: {text}" for text in to_measure.warnings),
        *(_slower(mixes, mix) if precision == "int8" and target == "cpu" and searched is None else ()),
    )
    return Quantized(artefact, certificate, warnings, sensitivity, searched, before)


def _checked_target(precision: Precision, target: Target | None) -> Target:
    if precision == "int8" and target is None:
        raise WholebodyError(
            "INT8 is for tensorrt or for onnxruntime on a cpu, whose graphs differ: --target"
        )
    if precision == "fp16" and target == "cpu":
        raise WholebodyError("onnxruntime's CPU computes FP16 in FP32, slower: --precision int8 is for it")
    return target or "tensorrt"


def _check_recovery(recovery: Recovery | None, precision: Precision, search: bool) -> None:
    if recovery is not None and precision == "fp16":
        raise WholebodyError("--recover trains what is rounded to INT8; FP16 needs none: leave it out")
    if recovery is not None and search:
        raise WholebodyError(
            "--search keeps layers that drift in floating point, --recover trains them: give one of them"
        )


def _checked_output(student: Path, output: str | Path | None, precision: Precision) -> Path:
    path = checked_output(Path(output) if output else student.with_name(f"{student.stem}_{precision}.onnx"))
    if path.resolve() == student.resolve() or sidecar_path(path).resolve() == sidecar_path(student).resolve():
        raise WholebodyError(f"{path} is the student itself, which is needed to verify: choose another name")
    return path


def _pictures(
    original: Original,
    calibration: Source,
    held_out: Source | None,
    count: int,
    boxes: str | Path | Boxes | None,
    detector: PersonDetector | None,
) -> tuple[Samples, Samples]:
    """To calibrate on, and to measure on."""
    if held_out is None and calibration == BUNDLED:
        held_out = HELD_OUT
    found = _people(original, calibration, boxes, detector)
    if held_out is not None:
        others = _people(original, held_out, boxes, detector)
        first = samples(original.spec, calibration, count=count, boxes=found)
        return first, samples(original.spec, held_out, count=count, boxes=others, least=1)
    first = samples(original.spec, calibration, count=count, boxes=found, part="to calibrate")
    return first, samples(original.spec, calibration, count=count, boxes=found, part="held out", least=1)


def _to_learn(
    recovery: Recovery, original: Original, boxes: str | Path | Boxes | None, detector: PersonDetector | None
) -> Samples | None:
    if recovery.pictures is None:
        return None
    people = _people(original, recovery.pictures, boxes, detector)
    return samples(original.spec, recovery.pictures, count=recovery.count, boxes=people)


def _people(
    original: Original,
    source: Source,
    boxes: str | Path | Boxes | None,
    detector: PersonDetector | None,
) -> Boxes | None:
    chosen = boxes if callable(boxes) else boxes_from(boxes or detector) if boxes or detector else None
    told = boxes_of_manifest(source) if isinstance(source, (str, Path)) else None
    return chosen or told or _own_people(original)


def _own_people(original: Original) -> Boxes | None:
    """Whom a student that finds people by itself sees."""
    spec, backend = original.spec, original.backend
    if isinstance(spec, StudentSpec):
        pose = DopePose(backend, spec)
        return lambda frame: pose(frame.image).boxes
    if isinstance(spec, DetectorSpec):
        detect = PersonDetector(backend, spec)
        return lambda frame: detect(frame.image)[0]
    return None


def _calibrated(
    original: Original,
    to_calibrate: Samples,
    method: Method | None,
    precision: Precision,
    target: Target,
    budget: PrecisionBudget,
    tell: Report,
) -> Method:
    """The method, chosen where none is wanted, once all that INT8 needs is counted."""
    if precision == "int8":
        calibrate(
            original.model, to_calibrate, method or TRIED[0], progress=lambda *at: tell("calibrating", *at)
        )
    if precision == "fp16" or method is not None:
        return method or TRIED[0]
    return choose_method(
        original.model, original.spec, to_calibrate, budget, target=target,
        report=lambda tried: tell(f"trying {tried}", 0, 0),
    )  # fmt: skip


def _everything(mixes: Mixes, precision: Precision) -> Mix:
    if precision == "fp16":
        return Mix.of(fp16=[layer.name for layer in mixes.layers if layer.name not in mixes.kept])
    return Mix.of(int8=[layer.name for layer in mixes.to_quantize])


def _sensitivity(mixes: Mixes, precision: Precision, tell: Report) -> Sensitivity:
    """Of INT8; empty, for nothing is to be tried, where only FP16 is wanted."""
    if precision == "fp16":
        return Sensitivity("int8", mixes.target, sum(layer.macs for layer in mixes.layers), ())
    return measure_sensitivity(
        mixes, "int8", report=lambda done, total, name: tell(f"sensitivity of {name}", done, total)
    )


def _searched(mixes: Mixes, sensitivity: Sensitivity, budget: PrecisionBudget, tell: Report) -> Searched:
    return search_mix(
        mixes, sensitivity, budget, report=lambda done, total, what: tell(f"trying {what}", done, total)
    )


def _recovered(
    model: ModelProto, original: Original, to_learn: Samples, recovery: Recovery, tell: Report
) -> ModelProto:
    return recover(
        model, original.model, original.spec, to_learn, layers=recovery.layers, steps=recovery.steps,
        progress=lambda loss, done, total: tell(f"recovering, loss {loss:.4f}", done, total),
    )  # fmt: skip


def _told(pictures: Samples) -> dict[str, Any]:
    return {"pictures": pictures.pictures, "sha256": pictures.sha256}


def _slower(mixes: Mixes, mix: Mix) -> Iterator[str]:
    """A warning where INT8 costs time instead of saving it, as it does in small networks of small layers."""
    exact, rounded = mixes.latencies_ms([Mix(), mix]).values()
    if rounded > exact:
        yield f"on this CPU it takes {rounded:.3g} ms, in FP32 {exact:.3g} ms: INT8 does not pay here"


def _require_budget(certificate: PrecisionCertificate, searched: Searched | None, force: bool) -> None:
    if searched is not None and not searched.fits:
        raise DriftError(f"nothing written: {' '.join(searched.summary().split())}")
    failures = certificate.failures()
    if failures and not force:
        raise DriftError(
            f"not written, for it drifts from FP32: {'; '.join(failures)}; keep the layers that drift in "
            "floating point with --search, train them (longer) with --recover, raise the budget, or write it "
            "with --force"
        )


def _written(output: Path, model: ModelProto, original: Original, certificate: Mapping[str, Any]) -> Artefact:
    spec = replace(
        original.spec,
        precision="int8" if certificate["layers"]["int8"] else "fp16",
        versions={**versions(), "onnxruntime": metadata.version("onnxruntime")},
        certificate=None,
    )
    del model.metadata_props[:]
    with whole(output) as partial:
        save(model, spec, partial)
    return write_artefact(output, replace(spec, certificate=certificate))
