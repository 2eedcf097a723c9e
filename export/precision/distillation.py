"""What a student that is rounded learns from its own FP32 self: the answers of the last layers."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import torch
from onnx import ModelProto
from torch import Tensor
from torch.nn import functional as F

from wholebody.export.precision.calibration import Inputs
from wholebody.export.precision.flow import Flow
from wholebody.export.precision.graph import producers
from wholebody.export.precision.poses import ask
from wholebody.export.precision.simulation import Simulated
from wholebody.runtime.spec import AnySpec, StudentSpec, TopDownSpec

__all__ = ["Distillation"]

BETA = 10.0  # SimCC's logits are trained under a softmax of ten times them, in mmpose as here
LEAST = 1e-12  # of a variance


class Distillation:
    """The FP32 network as the teacher, and how far a student's answers are from its.

    answers      the tensors compared: all that no other layer computes with; a box chosen by one is no such
    given        the teacher's regions, which the student takes too: both look into the same ones
    pose_scores  of DOPE, the answer that tells the scores of the classes, by that which tells their poses
    """

    def __init__(self, model: ModelProto, spec: AnySpec) -> None:
        flow, nodes = Flow(model.graph), model.graph.node
        self.answers = [n.output[0] for n in nodes if flow.is_layer(n) and not flow.is_needed(n.output[0])]
        self.given = [node.input[1] for node in nodes if node.op_type == "RoiAlign"]
        self._temperatures = {n.input[0]: 1.0 for n in nodes if n.op_type == "Softmax"}
        if isinstance(spec, TopDownSpec) and spec.head == "simcc":
            self._temperatures |= dict.fromkeys(spec.outputs, BETA)
        self.pose_scores = _pose_scores(model, spec, self.answers) if isinstance(spec, StudentSpec) else {}
        self._teacher = Simulated(_shown(model, [*self.answers, *self.given]))

    def teach(self, inputs: Inputs) -> dict[str, Tensor]:
        """What the teacher answers, and what is given to the student."""
        return {name: torch.from_numpy(array) for name, array in ask(self._teacher, inputs).items()}

    def losses(self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of each answer: the divergence of distributions, in nats, else squared errors in variances.

        The poses of DOPE count as much as their classes' scores, by which its integration averages over them.
        """
        found = {}
        for name in self.answers:
            if (beta := self._temperatures.get(name)) is not None:
                found[name] = _divergence(beta * student[name], beta * teacher[name])
                continue
            errors = (student[name] - teacher[name]).square() / teacher[name].var().clamp(min=LEAST)
            scores = teacher.get(self.pose_scores.get(name, ""))
            found[name] = errors.mean() if scores is None else _weighted(errors, scores)
        return found


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    target, answer = teacher.log_softmax(dim=-1), student.log_softmax(dim=-1)
    return F.kl_div(answer, target, reduction="none", log_target=True).sum(dim=-1).mean()


def _weighted(errors: Tensor, logits: Tensor) -> Tensor:
    """The mean of (N, K * n) errors, the n of a class weighted with its probability; logits (N, 1 + K)."""
    share = logits.softmax(dim=1)[:, 1:]
    each = errors.reshape(*share.shape, -1).mean(dim=2)
    return (each * share).sum() / share.sum().clamp(min=LEAST)


def _pose_scores(model: ModelProto, spec: StudentSpec, answers: list[str]) -> dict[str, str]:
    """By the answer that a part's poses are made of, the one that its scores are."""
    made = producers(model.graph)

    def behind(output: str) -> str:
        tensors = [output]
        while not (found := [tensor for tensor in tensors if tensor in answers]):
            tensors = [above for tensor in tensors if tensor in made for above in made[tensor].input]
        return found[0]

    return {behind(f"{part}_pose3d"): behind(f"{part}_scores") for part in spec.parts}


def _shown(model: ModelProto, tensors: list[str]) -> ModelProto:
    """The network that answers these tensors."""
    made = ModelProto()
    made.CopyFrom(model)
    del made.graph.output[:]
    made.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    return made
