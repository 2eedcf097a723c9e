"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden cases, real pictures and trained networks that lies beside a checkout."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail("golden cases are missing: the folder 'shared' must lie beside the checkout on CI")
        pytest.skip("golden cases and test pictures are not here (folder 'shared' beside the checkout)")
    return folder
