"""Timings of builds are kept, merged, and never lost to another build."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wholebody.export.timing_cache import default_timing_cache, load_timing_cache, save_timing_cache
from wholebody.runtime.errors import ArtefactError


class Cache:
    def __init__(self, data: bytes) -> None:
        self.lines = set(data.split(b"\n")) - {b""}

    def combine(self, other: Cache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.lines |= other.lines
        return True

    def serialize(self) -> bytes:
        return b"\n".join(sorted(self.lines))


class Config:
    """What is asked of an IBuilderConfig; damaged caches are none."""

    def __init__(self) -> None:
        self.cache: Cache | None = None

    def create_timing_cache(self, data: bytes) -> Cache | None:
        return None if data.startswith(b"garbage") else Cache(data)

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.cache = cache
        return True

    def get_timing_cache(self) -> Cache | None:
        return self.cache


def build(path: Path, line: bytes) -> None:
    config = Config()
    load_timing_cache(config, path)
    assert config.cache is not None
    config.cache.lines.add(line)
    save_timing_cache(config, path)


def test_builds_add_to_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.cache"
    for line in (b"a", b"b", b"a"):
        build(path, line)
    assert path.read_bytes() == b"a\nb"


def test_what_another_build_measured_meanwhile_is_kept(tmp_path: Path) -> None:
    path, first = tmp_path / "x.cache", Config()
    load_timing_cache(first, path)
    build(path, b"second")
    assert first.cache is not None
    first.cache.lines.add(b"first")
    save_timing_cache(first, path)
    assert path.read_bytes() == b"first\nsecond"


def test_a_damaged_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.cache"
    path.write_bytes(b"garbage")
    build(path, b"a")
    assert path.read_bytes() == b"a"


def test_no_cache_was_used(tmp_path: Path) -> None:
    save_timing_cache(Config(), tmp_path / "x.cache")
    assert not list(tmp_path.iterdir())


def test_processes_that_build_at_once(tmp_path: Path) -> None:
    """Every process adds 20 lines in turn; without the lock some of them would get lost."""
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "from test_timing_cache import build\n"
        "for i in range(20): build(Path(sys.argv[2]), f'{sys.argv[3]} {i}'.encode())"
    )
    path = tmp_path / "x.cache"
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(path)]
    running = [subprocess.Popen([*command, str(number)]) for number in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert len(path.read_bytes().splitlines()) == 60


def test_one_for_each_gpu_and_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_timing_cache("8.6.1", "NVIDIA H200", (9, 0)) == (
        tmp_path / "wholebody/timing/NVIDIA-H200-sm_90-tensorrt-8.6.1.cache"
    )
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = default_timing_cache("10.3.0", "../x", (8, 7))
    assert path.parent == tmp_path / "home/.cache/wholebody/timing"


def test_places_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"cannot be read .*--timing-cache"):
        load_timing_cache(Config(), tmp_path)
    config = Config()
    load_timing_cache(config, tmp_path / "x.cache")
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtefactError, match=r"cannot be written .*--timing-cache"):
        save_timing_cache(config, tmp_path / "file" / "x.cache")
