"""`wholebody build`: from a student as ONNX to a TensorRT engine for this GPU."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wholebody.commands.options import StudentArgument
from wholebody.console import console

if TYPE_CHECKING:
    from wholebody.export.build_plan import BuildPlan
    from wholebody.export.engine import Built

__all__ = ["build"]


class Hardware(str, Enum):
    this = "this"
    same_capability = "same-capability"
    ampere_plus = "ampere+"


def build(
    student: StudentArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The engine; student.engine unless told.")
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(metavar="MIN:OPT:MAX", help="How many at once, if the file leaves it open; 1:4:16."),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=MIN:OPT:MAX", help="Shapes of an input, as image=1x3x256x192:…:…"),
    ] = None,
    workspace: Annotated[
        float | None, typer.Option(metavar="GIB", help="GPU memory for one layer; all unless told.")
    ] = None,
    optimization_level: Annotated[
        int | None, typer.Option(min=0, max=5, help="0 builds quickly, 5 tries everything; 3 unless told.")
    ] = None,
    tf32: Annotated[bool, typer.Option("--tf32", help="Let FP32 be rounded to 10 bits: faster.")] = False,
    hardware: Annotated[Hardware, typer.Option(help="Which GPUs the engine may run on.")] = Hardware.this,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="Newer versions of TensorRT may run it, too.")
    ] = False,
    refit: Annotated[bool, typer.Option("--refit", help="Its weights can be exchanged.")] = False,
    strip: Annotated[
        bool, typer.Option("--strip", help="Leave its weights out; they come from the ONNX file beside it.")
    ] = False,
    dla: Annotated[
        int | None, typer.Option(min=0, metavar="CORE", help="A Jetson's DLA to run on, the GPU helping out.")
    ] = None,
    timing_cache: Annotated[
        Path | None, typer.Option(help="Timings of earlier builds; kept in ~/.cache/wholebody unless told.")
    ] = None,
    device: Annotated[int, typer.Option(min=0, help="The GPU to build for.")] = 0,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build even where the same engine is there already.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what would be built; needs no GPU.")
    ] = False,
) -> None:
    """Build a TensorRT engine for this GPU."""
    from wholebody.export.build_plan import BuildOptions, parse_batch, parse_shape, plan_build

    options = BuildOptions(
        batch=parse_batch(batch) if batch else None,
        shapes=dict(parse_shape(text) for text in shape or ()),
        workspace=workspace,
        optimization_level=optimization_level,
        tf32=tf32,
        hardware=hardware.value,
        version_compatible=version_compatible,
        refit=refit,
        strip=strip,
        dla=dla,
    )
    plan = plan_build(student, output, options)
    if dry_run:
        console.print(str(plan))
        return
    built = _build(plan, device, rebuild, timing_cache)
    size = built.path.stat().st_size / 1e6
    if built.reused:
        console.print(f"{built.path} is built of the same already ({size:.1f} MB); --rebuild builds it anew")
        return
    console.print(f"wrote {built.path} and its sidecar ({size:.1f} MB) in {built.seconds:.0f} s")
    if back := built.plan.layers.get("not_on_dla"):
        console.print(f"{len(back)} layers run on the GPU instead of the DLA: {', '.join(back)}")


def _build(plan: BuildPlan, device: int, rebuild: bool, timing_cache: Path | None) -> Built:
    from wholebody.export.engine import build_engine
    from wholebody.runtime.cuda import Cuda

    with console.status(f"building {plan.output}") as status:
        return build_engine(
            plan,
            cuda=Cuda(device),
            rebuild=rebuild,
            timing_cache=timing_cache,
            progress=lambda progress: status.update(f"building {plan.output}: {progress}"),
        )
