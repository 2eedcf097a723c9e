"""`wholebody build` on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from wholebody.commands.building import build

app = typer.Typer(rich_markup_mode=None)
app.command()(build)


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_dry_run_needs_nothing_and_writes_nothing(conv: Path) -> None:
    text = run(conv, "--dry-run", "--batch", "1:2:4", "--workspace", "2", "--refit", "--hardware", "ampere+")
    assert "image 1x3x8x8:2x3x8x8:4x3x8x8" in text
    assert "2 GiB" in text
    assert "compute capability 8.0 and newer" in text
    assert "exchangeable" in text
    assert [path.name for path in conv.parent.iterdir()] == ["conv.onnx"]


def test_it_builds_and_recognises(fake_of: Any, conv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_of("10")
    monkeypatch.setattr("wholebody.runtime.cuda.Cuda", lambda device: fake.cuda)
    assert "conv.engine and its sidecar" in run(conv)
    assert "is built of the same already" in run(conv)
    assert "wrote" in run(conv, "--rebuild", "--timing-cache", conv.with_name("t.cache"))
    assert conv.with_name("t.cache").is_file()


def test_layers_that_are_not_on_the_dla(
    fake_of: Any, tmp_path: Path, make_onnx: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = fake_of("8.6")
    fake.world.cores, fake.world.on_dla = 1, ("conv", "to half", "to float")
    monkeypatch.setattr("wholebody.runtime.cuda.Cuda", lambda device: fake.cuda)
    half = make_onnx.conv(tmp_path / "half.onnx", half=True)
    assert "1 layers run on the GPU instead of the DLA: mean" in run(half, "--dla", "0")
