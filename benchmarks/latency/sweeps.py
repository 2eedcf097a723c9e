"""DOPE students that look into another number of boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from wholebody.benchmarks.latency.contenders import Contender, Network, read_network
from wholebody.export.zoo import bundled_source
from wholebody.runtime.spec import StudentSpec

__all__ = ["with_proposals"]

Export = Callable[[Path, Path, tuple[int, int], int], None]


def with_proposals(
    contenders: Sequence[Contender], number: int, folder: Path, export: Export, tell: Callable[[str], None]
) -> list[Contender]:
    """The same contenders with so many proposals; told of are those that cannot have them.

    PyTorch runs the checkpoint with any number. A student's graph has one: FP32 students whose checkpoint is
    at hand are exported anew into `folder`, by `export(checkpoint, output, (height, width), number)`.
    """
    checkpoints = {c.network.sha256: c.network.path for c in contenders if c.network.kind == "checkpoint"}
    found: list[Contender] = []
    for contender in contenders:
        network = contender.network
        if network.kind == "checkpoint":
            found.append(replace(contender, network=replace(network, proposals=number)))
            continue
        weights = network.spec.weights.sha256
        source = checkpoints.get(weights) or bundled_source(weights)
        if network.kind != "onnx" or network.spec.precision != "fp32" or source is None:
            tell(f"{number} proposals: {contender.title} has {network.proposals} in its graph; left out")
            continue
        found.append(replace(contender, network=_exported(network, source, number, folder, export)))
    return found


def _exported(network: Network, source: Path, number: int, folder: Path, export: Export) -> Network:
    output = folder / f"{network.path.stem}-{number}.onnx"
    if not output.exists():
        assert isinstance(network.spec, StudentSpec)
        export(source, output, (network.spec.input.height, network.spec.input.width), number)
    return read_network(output, [], _nothing)


def _nothing(path: Path) -> tuple[StudentSpec, None]:
    raise AssertionError(f"{path} is an ONNX file")
