"""Wheel and sdist hold the whole package and nothing else, and the wheel works away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

import wholebody

ROOT = Path(__file__).resolve().parents[1]
LINKED = ("export", "runtime", "benchmarks", "distill", "calibration_data")
BESIDE_THE_PACKAGE = {
    ".gitignore", "CHANGELOG.md", "LICENSE", "Makefile", "PKG-INFO", "README.md", "constraints.txt",
    "pyproject.toml", "scripts", "tests", "wholebody",
}  # fmt: skip


def build(source: Path, target: str, folder: Path) -> Path:
    """The path of the distribution that hatchling makes of a source folder, without a network."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)],
        cwd=source, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(folder)], check=True)
    return folder


def run(installed: Path, *arguments: str) -> str:
    """What Python prints with the installed package before all others, in a folder that holds nothing."""
    elsewhere = installed.with_name("elsewhere")
    elsewhere.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def package_files() -> set[str]:
    """Everything below wholebody/, through its links, but for what Python leaves there."""
    return {
        (Path(folder) / name).relative_to(ROOT).as_posix()
        for folder, _, names in os.walk(ROOT / "wholebody", followlinks=True)
        if not folder.endswith("__pycache__")
        for name in names
    }


def test_the_linked_folders_are_links() -> None:
    for name in LINKED:
        assert (ROOT / "wholebody" / name).readlink() == Path("..") / name


def test_the_wheel_is_the_package_and_nothing_else(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    assert len(set(names)) == len(names)
    assert {name for name in names if ".dist-info/" not in name} == package_files()


def test_nothing_is_forgotten(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    assert {f"wholebody/{name}" for name in ("__init__.py", "cli.py", "py.typed")} <= names
    for folder in LINKED[:-1]:
        assert f"wholebody/{folder}/__init__.py" in names
    data = {name for name in names if name.startswith("wholebody/calibration_data/")}
    assert "wholebody/calibration_data/manifest.json" in data
    assert sum(name.endswith(".jpg") for name in data) >= 50
    weights = "export/weights/dope-mini.safetensors"
    assert (f"wholebody/{weights}" in names) == (ROOT / weights).exists()
    assert not [name for name in names if "test" in name or "/." in name or name.endswith((".pt", ".pyc"))]


def test_what_the_wheel_says_of_itself(wheel: Path) -> None:
    prefix = f"wholebody-{wholebody.__version__}.dist-info"
    with ZipFile(wheel) as file:
        metadata = file.read(f"{prefix}/METADATA").decode()
        assert "wholebody = wholebody.cli:main" in file.read(f"{prefix}/entry_points.txt").decode()
        assert f"{prefix}/licenses/LICENSE" in file.namelist()
    assert f"\nVersion: {wholebody.__version__}\n" in metadata
    needed = [
        line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra" not in line
    ]
    assert not [line for line in needed if "torch" in line]


def test_the_sdist_is_the_package_its_tests_and_how_to_build_it(sdist: Path) -> None:
    with tarfile.open(sdist) as file:
        members = file.getmembers()
    names = {member.name.partition("/")[2] for member in members}
    assert all(member.isfile() for member in members)
    assert {name for name in names if name.startswith("wholebody/")} == package_files()
    assert {name.partition("/")[0] for name in names} <= BESIDE_THE_PACKAGE
    assert {"tests/test_wheel.py", "pyproject.toml", "LICENSE"} <= names


def test_a_wheel_made_from_the_sdist_is_the_same(
    wheel: Path, sdist: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = tmp_path_factory.mktemp("source")
    with tarfile.open(sdist) as file:
        file.extractall(source, filter="data")
    (root,) = source.iterdir()
    again = build(root, "wheel", tmp_path_factory.mktemp("again"))
    contents = [{entry.filename: entry.CRC for entry in ZipFile(path).infolist()} for path in (wheel, again)]
    assert contents[0] == contents[1]


# Their library has no build for machines without a GPU; tests/tensorrt imports them over recorded names.
NEED_TENSORRT = (
    *(f"wholebody.runtime.backends.{name}" for name in ("trt", "trt_engine", "trt_execution", "trt_outputs")),
    "wholebody.export.engine",
    "wholebody.export.engine_build",
)


def test_every_module_works_away_from_the_checkout(installed: Path) -> None:
    files = (path.relative_to(installed) for path in sorted((installed / "wholebody").rglob("*.py")))
    parts = [path.with_suffix("").parts for path in files]
    modules = [".".join(p[:-1] if p[-1] == "__init__" else p) for p in parts if p[-1] != "__main__"]
    assert "wholebody.export.students.dope" in modules
    modules = [module for module in modules if module not in NEED_TENSORRT]
    code = f"""if True:
        import importlib
        for module in {modules}:
            importlib.import_module(module)
        import wholebody, wholebody.demo
        print(wholebody.__file__)
        print(*wholebody.demo.calibration_pictures(), sep="\\n")
    """
    package, *pictures = map(Path, run(installed, "-c", code).splitlines())
    assert package == installed / "wholebody" / "__init__.py"
    assert len(pictures) >= 50
    assert all(picture.parent == installed / "wholebody" / "calibration_data" for picture in pictures)


def test_the_command_line_away_from_the_checkout(installed: Path) -> None:
    assert "Commands:" in run(installed, "-m", "wholebody.cli", "--help")
