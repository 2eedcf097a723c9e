"""`wholebody bench latency`: how long students take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from wholebody.commands.options import ThreadsOption, finite
from wholebody.console import console, errors
from wholebody.runtime.errors import WholebodyError

__all__ = ["latency"]

Number = TypeVar("Number", int, float)


def latency(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL...", help="Students: ONNX files, engines or checkpoints, as many as you like."
        ),
    ],
    against: Annotated[
        Path | None,
        typer.Option(
            help="A checkpoint or student to compare with; PyTorch with the bundled weights unless told."
        ),
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            help="Repeatable. auto, onnxruntime[:PROVIDER], tensorrt[:GPU]; of checkpoints pytorch[:cuda], "
            "torch.compile[:cuda]."
        ),
    ] = None,
    detector: Annotated[
        Path | None, typer.Option(help="For top-down students; without it they are given the boxes.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Whole frames: a folder, picture or video; rendered people unless told."),
    ] = None,
    people: Annotated[
        str | None, typer.Option(metavar="N,N", help="Sweep of people in a picture, 0 to 16.")
    ] = None,
    batch: Annotated[
        str | None, typer.Option(metavar="N,N", help="Sweep of crops at once, a top-down network alone.")
    ] = None,
    proposals: Annotated[
        str | None, typer.Option(metavar="N,N", help="Sweep of the boxes that DOPE looks into.")
    ] = None,
    pace: Annotated[
        str | None, typer.Option(metavar="HZ,HZ", help="Frames as a camera brings them, such as 30,60.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, callback=finite, help="For each of them at most; 200 frames are enough.")
    ] = 10.0,
    runs: Annotated[
        Path | None, typer.Option(help="Append every run to this file, and go on after those that are in it.")
    ] = None,
    threads: ThreadsOption = None,
) -> None:
    """How long students take, in turns with what they came from.

    Every student runs on every backend in a process of its own; they take turns, so that a busy machine is
    busy for all. A file that others published says in x.json what its shapes do not tell. The answer is
    Markdown; `wholebody bench report` makes a page of --runs.
    """
    from wholebody.benchmarks.latency.suite import Suite, measure
    from wholebody.benchmarks.latency.table import markdown

    suite = Suite(
        models=models,
        against=against,
        backends=backend or (),
        detector=detector,
        images=images,
        batches=_numbers(batch, "--batch", int),
        people=_numbers(people, "--people", int),
        proposals=_numbers(proposals, "--proposals", int),
        hertz=_numbers(pace, "--pace", float),
        seconds=seconds,
        threads=threads,
    )
    found = measure(suite, runs, tell=lambda line: errors.print(" ".join(line.split())))
    console.print(markdown(found))


def _numbers(text: str | None, option: str, kind: Callable[[str], Number]) -> list[Number]:
    """`1,2,4` as [1, 2, 4]. Raises WholebodyError naming the option."""
    try:
        return [] if text is None else [kind(number) for number in text.split(",")]
    except ValueError:
        raise WholebodyError(
            f"{option} is {text!r}; it must be numbers with commas between, such as 1,2,4"
        ) from None
