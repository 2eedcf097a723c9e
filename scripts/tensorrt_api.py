#!/usr/bin/env python3
"""Record the names, enums and signatures of a TensorRT release, from its Python bindings on PyPI.

    python3.11 scripts/tensorrt_api.py tensorrt-bindings==8.6.1 tests/data/tensorrt_api_8.6.json
    python3.11 scripts/tensorrt_api.py tensorrt-cu13-bindings==10.16.1.11 tests/data/tensorrt_api_10.json
    python3.11 scripts/tensorrt_api.py tensorrt-cu13-bindings==11.4.0.106 tests/data/tensorrt_api_11.json
    python3.10 scripts/tensorrt_api.py tensorrt==8.5.3.1 tests/data/tensorrt_api_8.5.json

The bindings are imported over empty stand-ins for TensorRT's libraries, so neither a GPU nor a driver nor
those libraries are needed; nothing is called. Needs gcc, nm, readelf, and a Python that the wheel is for.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("requirement", help="distribution==version, a wheel's path, or 'imported'")
    arguments.add_argument("output", type=Path)
    given = arguments.parse_args()
    if given.requirement == "imported":  # the second process, in which the bindings can be imported
        given.output.write_text(compact(surface()), "utf-8")
        return
    with tempfile.TemporaryDirectory() as folder:
        package = unpack(given.requirement, Path(folder))
        stand_in(package / "tensorrt.so", Path(folder))
        paths = {"LD_LIBRARY_PATH": folder, "PYTHONPATH": folder, "TENSORRT_API_PACKAGE": package.name}
        command = [sys.executable, __file__, "imported", str(given.output.resolve())]
        subprocess.run(command, check=True, env={**os.environ, **paths})


def unpack(requirement: str, folder: Path) -> Path:
    """The package of Python bindings in this wheel, without the libraries that some wheels bring."""
    if not requirement.endswith(".whl"):
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        platforms = [argument for name in PLATFORMS for argument in ("--platform", name)]
        subprocess.run([*pip, *platforms, "--dest", str(folder), requirement], check=True)
    wheels = [requirement] if requirement.endswith(".whl") else list(folder.glob("*.whl"))
    with zipfile.ZipFile(wheels[0]) as wheel:
        names = [n for n in wheel.namelist() if re.match(r"tensorrt(_bindings)?/(\w+\.py|tensorrt\.so)$", n)]
        wheel.extractall(folder, names)
    return folder / names[0].split("/")[0]


def stand_in(bindings: Path, folder: Path) -> None:
    """Write libraries under the names that the bindings need, whose functions all answer 0."""
    needed = re.findall(r"\[(libnv\S+)\]", tool("readelf", "-d", str(bindings)))
    undefined = [
        line.split()[-1] for line in tool("nm", "-D", "--undefined-only", str(bindings)).splitlines()
    ]
    names = [n for n in undefined if re.match(r"create|get|init|_ZNK?\d+nv", n) and "@" not in n]
    source = folder / "stand_in.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in names), "utf-8")
    for library in needed:
        output = folder / library
        tool("gcc", "-w", "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", str(output), str(source))


def tool(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def surface() -> dict[str, Any]:
    """What the imported bindings offer."""
    module: Any = __import__(os.environ["TENSORRT_API_PACKAGE"])
    members = {name: getattr(module, name) for name in sorted(dir(module)) if not name.startswith("_")}
    classes = {name: value for name, value in members.items() if isinstance(value, type)}
    kinds = {name: kind for name, kind in classes.items() if not is_layer(name, module)}
    return {
        "version": module.__version__,
        "functions": {name: signatures(f) for name, f in members.items() if is_function(f)},
        "enums": {name: list(kind.__members__) for name, kind in enums(kinds)},
        "classes": {name: described(kind) for name, kind in kinds.items() if not is_enum(kind)},
    }


def enums(kinds: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Enums by name, and those inside a class as "ILogger.Severity"."""
    for name, kind in kinds.items():
        if is_enum(kind):
            yield name, kind
        else:
            yield from ((f"{name}.{n}", k) for n, k in vars(kind).items() if is_enum(k))


def is_layer(name: str, module: Any) -> bool:
    """One of the many layers that only the ONNX parser adds; ILayer itself stays."""
    return name != "ILayer" and issubclass(getattr(module, name), module.ILayer)


def is_enum(kind: object) -> bool:
    return isinstance(kind, type) and hasattr(kind, "__members__")


def is_function(value: object) -> bool:
    return type(value).__name__ == "builtin_function_or_method"


def described(kind: type) -> dict[str, Any]:
    """The bases, methods and properties of a class, inherited ones left to its bases."""
    own = {name: getattr(kind, name) for name in vars(kind) if name == "__init__" or name[0] != "_"}
    properties = {name: value for name, value in own.items() if isinstance(value, property)}
    methods = {n: v for n, v in own.items() if n not in properties and callable(v) and not is_enum(v)}
    return {
        "bases": [
            base.__name__ for base in kind.__bases__ if base.__name__ not in ("object", "pybind11_object")
        ],
        "methods": {name: signatures(value) for name, value in sorted(methods.items())},
        "properties": {name: access(value) for name, value in sorted(properties.items())},
    }


def access(value: property) -> str:
    """Who may do what, and the type: "r: T", "w: T" or "rw: T"."""
    ways = ("r" if value.fget else "") + ("w" if value.fset else "")
    read = re.search(r"-> (.*)", (value.fget and value.fget.__doc__) or "")
    written = re.search(r", arg1: (.*)\) ->", (value.fset and value.fset.__doc__) or "")
    found = written or read
    return f"{ways}: {bare(found.group(1)) if found else 'Any'}"


def signatures(function: Any) -> list[str]:
    """The signatures that pybind11 puts into a docstring: one, or one per overload; [] where it has none."""
    doc = function.__doc__ or ""
    name = re.escape(function.__name__)
    found = re.findall(rf"^(?:\d+\. )?{name}(\(.*\)(?: -> .*)?)$", doc, re.MULTILINE)
    return [bare(text) for text in found if text != "(*args, **kwargs)"]


def bare(text: str) -> str:
    """Without the module's name."""
    return re.sub(r"tensorrt(_bindings)?\.tensorrt\.", "", text)


def compact(record: dict[str, Any]) -> str:
    """JSON with one line per name, so that two releases can be compared."""
    parts = [f' "version": {json.dumps(record["version"])}']
    for section in ("functions", "enums", "classes"):
        lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in record[section].items()]
        parts.append(f" {json.dumps(section)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main()
