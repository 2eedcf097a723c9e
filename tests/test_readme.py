"""The README's commands and code run as they stand, and what it points at is there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from wholebody.cli import app
from wholebody.demo import calibration_pictures

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line
    for language, text in BLOCKS
    for line in text.splitlines()
    if language != "python" and line.startswith("wholebody ")
]


def words(line: str) -> list[str]:
    """The arguments of a command line, without its comment."""
    return shlex.split(line, comments=True)[1:]


def run(line: str) -> None:
    command = [sys.executable, "-m", "wholebody.cli", *words(line)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def test_it_has_commands_and_code() -> None:
    assert {"shell", "python"} <= {language for language, _ in BLOCKS}
    assert README.count("```") == 2 * len(BLOCKS)
    assert len(COMMANDS) >= 3


@pytest.mark.usefixtures("bundled_weights")
def test_its_blocks_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`shell` and `python` blocks, in a folder with pictures/ and picture.jpg; other commands are not run."""
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    for picture in calibration_pictures()[:2]:
        shutil.copy(picture, "pictures")
    shutil.copy(calibration_pictures()[0], "picture.jpg")
    namespace: dict[str, Any] = {}
    for language, text in BLOCKS:
        if language == "python":
            exec(compile(text, "README.md", "exec"), namespace)
        for line in text.splitlines() if language == "shell" else ():
            if line.startswith("wholebody "):
                run(line)


@pytest.mark.parametrize("line", COMMANDS)
def test_its_commands_have_these_options(line: str) -> None:
    command = words(line)
    name = command[: 2 if command[0] == "bench" else 1]
    shown = CliRunner().invoke(app, [*name, "--help"])
    assert shown.exit_code == 0, line
    for option in (word for word in command if word.startswith("-")):
        assert re.search(rf"(^|\s){re.escape(option)}\b", shown.stdout), f"{line}: no {option}"


def test_what_it_points_at_is_there() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    missing = [target for target in targets if "://" not in target and not (ROOT / target).exists()]
    assert not missing
    assert "@@" not in README
