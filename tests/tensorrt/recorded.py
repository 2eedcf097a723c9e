"""A module `tensorrt` that offers exactly what one release's record has, and refuses everything else.

Names, enums and signatures come from tests/data/tensorrt_api_*.json; what a call does comes from a behaviour:
`{"Builder": SomeClass}` gives the recorded class its methods and properties by their names. A recorded method
without a behaviour can be looked up, as `hasattr` does, but not called.
"""

from __future__ import annotations

import ast
import enum
import inspect
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

DATA = Path(__file__).resolve().parents[1] / "data"
RELEASES = ("8.5", "8.6", "10", "11")
INTEGERS = ("int", "typing.SupportsInt")
BUFFERS = ("buffer", "typing_extensions.Buffer")


def record(release: str) -> dict[str, Any]:
    """What was recorded of a release."""
    data: dict[str, Any] = json.loads((DATA / f"tensorrt_api_{release}.json").read_text("utf-8"))
    return data


def make_module(release: str, behaviours: Mapping[str, type], functions: Mapping[str, Any]) -> ModuleType:
    """The module of a release."""
    api = record(release)
    module = ModuleType("tensorrt")
    vars(module)["__version__"] = api["version"]
    for number, (name, members) in enumerate(api["enums"].items()):
        owner, _, inner = name.rpartition(".")
        made = enum.IntEnum(inner, {m: 3 * i + number % 5 + 1 for i, m in enumerate(members)})
        if not owner:
            vars(module)[name] = made
    waiting = dict(api["classes"])
    while waiting:
        for name in [n for n, c in waiting.items() if all(b not in waiting for b in c["bases"])]:
            described = waiting.pop(name)
            vars(module)[name] = _make_class(name, described, module, behaviours.get(name))
    for name, members in api["enums"].items():
        owner, _, inner = name.rpartition(".")
        if owner:
            setattr(getattr(module, owner), inner, enum.IntEnum(inner, members))
    for name, signatures in api["functions"].items():
        vars(module)[name] = _checked(name, signatures, module, functions.get(name), method=False)
    return module


def _make_class(name: str, described: Any, module: ModuleType, behaviour: type | None) -> type:
    bases = tuple(getattr(module, base) for base in described["bases"])
    namespace: dict[str, Any] = {"__setattr__": _refuse_unknown, "_recorded": True}
    for method, signatures in described["methods"].items():
        does = getattr(behaviour, method, None) if behaviour else None
        if method == "__init__":
            namespace[method] = _constructor(name, signatures, module, does)
        else:
            namespace[method] = _checked(f"{name}.{method}", signatures, module, does, method=True)
    for attribute, access in described["properties"].items():
        namespace[attribute] = _property(name, attribute, access, module, behaviour)
    for hidden in ("__bytes__",):
        if behaviour and hidden in vars(behaviour):
            namespace[hidden] = vars(behaviour)[hidden]
    helpers = {n: v for n, v in vars(behaviour or object).items() if re.match(r"_[a-z]", n)}
    return type(name, bases, {**helpers, **namespace})


def _refuse_unknown(self: Any, name: str, value: Any) -> None:
    """As pybind11's classes do; classes made from them in Python take any attribute."""
    own = "_recorded" in vars(type(self))
    if own and not name.startswith("_") and not hasattr(type(self), name):
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
    object.__setattr__(self, name, value)


def _constructor(name: str, signatures: list[str], module: ModuleType, does: Any) -> Any:
    if not signatures:

        def refuse(self: Any, *args: Any, **kwargs: Any) -> None:
            raise TypeError(f"{name}: No constructor defined!")

        return refuse
    return _checked(f"{name}.__init__", signatures, module, does or (lambda self, *a, **k: None), method=True)


def _property(owner: str, name: str, access: str, module: ModuleType, behaviour: type | None) -> property:
    ways, _, kind = access.partition(": ")
    of_behaviour = vars(behaviour).get(name) if behaviour else None

    def get(self: Any) -> Any:
        if isinstance(of_behaviour, property):
            assert of_behaviour.fget
            return of_behaviour.fget(self)
        values = vars(self)
        assert f"_{name}" in values, f"the fake has no value for {owner}.{name}"
        return values[f"_{name}"]

    def put(self: Any, value: Any) -> None:
        _check_kind(f"{owner}.{name}", name, kind, value, module)
        object.__setattr__(self, f"_{name}", value)

    return property(get if "r" in ways else None, put if "w" in ways else None)


def _checked(name: str, signatures: list[str], module: ModuleType, does: Any, *, method: bool) -> Any:
    """A function that takes what one of the signatures takes, and then does something."""

    def call(*args: Any, **kwargs: Any) -> Any:
        own, given = (args[:1], args[1:]) if method else ((), args)
        problems = []
        for signature, kinds in (_parse(text, method) for text in signatures):
            try:
                bound = signature.bind(*given, **kwargs)
                for argument, value in bound.arguments.items():
                    _check_kind(name, argument, kinds[argument], value, module)
            except TypeError as error:
                problems.append(str(error))
                continue
            assert does is not None, f"the fake does nothing for {name}"
            bound.apply_defaults()
            return does(*own, *bound.args)
        raise TypeError(f"{name}{signatures}: {problems}")

    call.__name__ = name.rpartition(".")[2]
    return call


@cache
def _parse(text: str, method: bool) -> tuple[inspect.Signature, dict[str, str]]:
    """pybind11's text as a signature, and the types of its arguments."""
    text = re.sub(r"= <([\w.]+): \w+>", r"= '\1'", text)
    text = re.sub(r"nvinfer1::(v_\d_0::)?|nvonnxparser::", "", text)
    inside = text[1 : text.index(") ->")]
    function: Any = ast.parse(f"def f({inside}): ...").body[0]
    arguments = function.args
    first = len(arguments.args) - len(arguments.defaults)
    parameters, kinds = [], {}
    for i, argument in enumerate(arguments.args):
        default = ast.literal_eval(arguments.defaults[i - first]) if i >= first else inspect.Parameter.empty
        kinds[argument.arg] = ast.unparse(argument.annotation)
        parameters.append(
            inspect.Parameter(argument.arg, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)
        )
    return inspect.Signature(parameters[1:] if method else parameters), kinds


def _check_kind(where: str, argument: str, kind: str, value: Any, module: ModuleType) -> None:
    """Raise TypeError where pybind11 would not convert the value."""
    wanted: Any = {
        "str": str, "bool": bool, "float": (int, float), "Dims": (tuple, list), "tuple": tuple, "list": list,
    }.get(kind)  # fmt: skip
    if value is None and kind not in (*INTEGERS, "bool", "float"):
        return  # a null pointer, or the default
    if kind in INTEGERS:
        wanted = int
    elif kind in BUFFERS:
        wanted = (bytes, memoryview, bytearray)
    elif kind.startswith(("List[int]", "list[int]", "collections.abc.Sequence[typing.SupportsInt]")):
        wanted = list
    elif wanted is None:
        wanted = getattr(module, kind, None)
    if wanted is not None and not isinstance(value, wanted):
        raise TypeError(f"{where}: {argument} is {value!r:.60}, not a {kind}")
