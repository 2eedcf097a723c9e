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
from wholebody.export.precision.poses import ask
from wholebody.export.precision.simulation import Simulated
from wholebody.runtime.spec import AnySpec, TopDownSpec

__all__ = ["Distillation"]

BETA = 10.0  # SimCC's logits are trained under a softmax of ten times them, in mmpose as here
LEAST = 1e-12  # of a variance


class Distillation:
    """The FP32 network as the teacher, and how far a student's answers are from its.

    answers  the tensors compared: all that no other layer computes with. Boxes chosen by them are no such
    given    the teacher's regions, which the student takes in place of its own: both look into the same ones
    """

    def __init__(self, model: ModelProto, spec: AnySpec) -> None:
        flow, nodes = Flow(model.graph), model.graph.node
        self.answers = [n.output[0] for n in nodes if flow.is_layer(n) and not flow.is_needed(n.output[0])]
        self.given = [node.input[1] for node in nodes if node.op_type == "RoiAlign"]
        self._temperatures = {n.input[0]: 1.0 for n in nodes if n.op_type == "Softmax"}
        if isinstance(spec, TopDownSpec) and spec.head == "simcc":
            self._temperatures |= dict.fromkeys(spec.outputs, BETA)
        self._teacher = Simulated(_shown(model, [*self.answers, *self.given]))

    def teach(self, inputs: Inputs) -> dict[str, Tensor]:
        """What the teacher answers, and what is given to the student."""
        return {name: torch.from_numpy(array) for name, array in ask(self._teacher, inputs).items()}

    def losses(self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of each answer: the divergence of distributions, in nats, else squared errors in variances."""
        return {name: self._loss(name, student[name], teacher[name]) for name in self.answers}

    def _loss(self, name: str, student: Tensor, teacher: Tensor) -> Tensor:
        if (beta := self._temperatures.get(name)) is None:
            return (student - teacher).square().mean() / teacher.var().clamp(min=LEAST)
        target, answer = (beta * teacher).log_softmax(dim=-1), (beta * student).log_softmax(dim=-1)
        return F.kl_div(answer, target, reduction="none", log_target=True).sum(dim=-1).mean()


def _shown(model: ModelProto, tensors: list[str]) -> ModelProto:
    """The network that answers these tensors."""
    made = ModelProto()
    made.CopyFrom(model)
    del made.graph.output[:]
    made.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    return made
