"""What TensorRT says of a network that it cannot take, as one sentence that names the node and the cure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from wholebody.runtime.backends.trt_versions import has
from wholebody.runtime.errors import ArtefactError, BackendError
from wholebody.runtime.onnxfile import node_at

__all__ = ["build_error", "parser_error", "parser_failure"]

# Of a parser's or builder's message: what to do. The first pattern that is found decides.
_PARSER_CURES = (
    (r"opset|IR version|ir_version", "export it with opset 17"),
    (r"INT64|DOUBLE|data ?type|UNSUPPORTED_NODE_DATATYPE", "use float32, float16 or int32 there"),
    (r"TopK|K <=|3840", "TensorRT takes at most 3840 in a TopK: keep fewer candidates"),
    (
        r"UNSUPPORTED_NODE|No importer|not supported|Plugin not found|UNSUPPORTED_GRAPH|getPluginCreator",
        "express it in operators that TensorRT knows, leave it out of the graph, or use a newer TensorRT",
    ),
    (
        r"shape|dimension|rank|Reshape|broadcast",
        "give every tensor a fixed shape (simplify it with onnxslim)",
    ),
    (r"weight|initializer|external|file", "copy the file with its external weights beside it"),
)
_BUILD_CURES = (
    (r"out of memory|OutOfMemory|cudaErrorMemoryAllocation|allocat", "free GPU memory, or lower --workspace"),
    (r"insufficient|workspace|Could not find any implementation", "raise --workspace"),
    (r"profile", "give a --batch or --shape that the network can take"),
    (r"CUDA|cuda|driver", "see `wholebody doctor`"),
    (r"DLA", "build it without --dla"),
)
_LIBRARY = r"library:? (lib\w+\.so[.\d]*)"  # that the parser of TensorRT 8.6 opens for RoiAlign, for one
_CURE = "simplify it with onnxslim, or use a newer TensorRT"


def parser_error(trt: Any, parser: Any, onnx: Path, data: bytes) -> ArtefactError:
    """Why the parser refused an ONNX file."""
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    if not errors:
        return ArtefactError(
            f"{onnx}: TensorRT {trt.__version__} cannot parse it and does not say why: {_CURE}"
        )
    first = errors[0]
    text = " ".join(first.desc().split())
    cure = _cure(f"{first.code().name} {text}", _PARSER_CURES)
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    node = _node(trt, first, data)
    return ArtefactError(f"{onnx}: TensorRT {trt.__version__} cannot take {node}: {text[:200]}{more}; {cure}")


def parser_failure(trt: Any, onnx: Path, message: str) -> BackendError | ArtefactError:
    """Why the parser broke off; message: that of the exception it raised."""
    text = " ".join(message.split())[:200]
    said = f"{onnx}: TensorRT {trt.__version__} broke off parsing it: {text}"
    missing = re.search(_LIBRARY, text)
    if not missing:
        return ArtefactError(f"{said}; {_cure(text, _PARSER_CURES)}")
    plugins = missing[1].replace("_vc_plugin", "_plugin")
    return BackendError(
        f"{said}; install TensorRT's package of that name, or where its wheels lack it, as 8.6's do, link "
        f"{missing[1]} to {plugins} in their folder tensorrt_libs"
    )


def build_error(trt: Any, onnx: Path, message: str) -> BackendError:
    """Why a network that was parsed could not be built; message: the last that TensorRT logged."""
    layer = re.search(r"(?:node|layer) '?\"?([^\s'\"\]]{2,})", message)
    where = f" at {layer.group(1)}" if layer else ""
    return BackendError(
        f"{onnx}: TensorRT {trt.__version__} cannot build it{where}: {message[:200]}; "
        f"{_cure(message, _BUILD_CURES)}"
    )


def _node(trt: Any, error: Any, data: bytes) -> str:
    """The node that an error is about; TensorRT 8 tells its number only."""
    if has(trt, "named nodes") and error.node_operator():
        return f"the {error.node_operator()} '{error.node_name()}'"
    found = node_at(data, error.node())
    return f"the {found[1]} '{found[0]}'" if found else "the graph"


def _cure(text: str, cures: tuple[tuple[str, str], ...]) -> str:
    return next((cure for pattern, cure in cures if re.search(pattern, text)), _CURE)
