"""Runs to report on, and a browser to read the report with."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BROWSERS = (
    "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable",
)  # fmt: skip


@pytest.fixture(scope="session")
def samples() -> ModuleType:
    """The module sample_runs."""
    path = Path(__file__).with_name("sample_runs.py")
    spec = importlib.util.spec_from_file_location("sample_runs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sample_runs"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def report(samples: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the report on a whole suite, in which the runs lie, too."""
    pytest.importorskip("matplotlib")
    from wholebody.benchmarks.report.write import write_report

    folder = tmp_path_factory.mktemp("report")
    runs = samples.write(folder / "runs.jsonl", *samples.small_suite(folder))
    write_report([runs], folder)
    return folder


@pytest.fixture(scope="session")
def browse() -> Callable[..., str]:
    """`browse(page, "--dump-dom", ...)`: what headless Chromium prints about a page."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium to look at the report with: apt-get install chromium-headless-shell")
        pytest.skip("no Chromium here to look at the report with (Debian: chromium-headless-shell)")

    def run(page: Path, *options: Any) -> str:
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += ["--virtual-time-budget=2000", *map(str, options), page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
