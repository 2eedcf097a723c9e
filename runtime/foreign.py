"""Arrays that other libraries have on a GPU, used where they are.

PyTorch and CuPy offer both DLPack and `__cuda_array_interface__`, Numba the latter. DLPack (the unversioned
struct, which every library gives) also tells the GPU, and is handed our stream: our work waits for theirs.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from wholebody.runtime.gpu import DeviceArray

__all__ = ["Waiting", "device_array", "is_device_array"]

CUDA, MANAGED = 2, 13  # kDLCUDA, kDLCUDAManaged
KINDS = {0: "i", 1: "u", 2: "f"}  # kDLInt, kDLUInt, kDLFloat; 6 is kDLBool
BOOL = 6


class Waiting(Protocol):
    """What is asked of a Cuda."""

    device: int

    @property
    def stream(self) -> Any: ...

    def wait_for(self, stream: int) -> None: ...


def is_device_array(thing: Any) -> bool:
    """Whether it is an array in a GPU's memory."""
    if hasattr(thing, "__dlpack_device__"):
        return thing.__dlpack_device__()[0] in (CUDA, MANAGED)
    return hasattr(thing, "__cuda_array_interface__")


def device_array(thing: Any, cuda: Waiting) -> DeviceArray:
    """The same memory as `thing`, for which `is_device_array` is true, held for as long as the answer.

    What the stream of `cuda` is asked for from now on waits for what the library still does to it; PyTorch
    tells so through DLPack only, which is taken first. Raises ValueError where it is on another GPU, not in C
    order, or of a type that NumPy lacks.
    """
    if isinstance(thing, DeviceArray):
        return thing
    if hasattr(thing, "__dlpack_device__"):
        return _of_dlpack(thing, cuda)
    return _of_interface(thing.__cuda_array_interface__, thing, cuda)


# --- __cuda_array_interface__ -------------------------------------------------------------------------------


def _of_interface(interface: Any, thing: Any, cuda: Waiting) -> DeviceArray:
    shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
    strides = interface.get("strides")
    if strides is not None:
        _check_order(shape, [stride / dtype.itemsize for stride in strides])
    if interface.get("mask") is not None:
        raise ValueError("a GPU array with a mask cannot be read: hand over the values alone")
    if interface.get("stream") is not None:
        cuda.wait_for(interface["stream"])
    return DeviceArray(interface["data"][0] or 0, shape, dtype, thing)


# --- DLPack -------------------------------------------------------------------------------------------------


class _Tensor(ctypes.Structure):
    """DLTensor, with which a DLManagedTensor begins."""

    _fields_ = (
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device", ctypes.c_int32),
        ("ndim", ctypes.c_int32), ("kind", ctypes.c_uint8), ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16), ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)), ("offset", ctypes.c_uint64),
    )  # fmt: skip


def _of_dlpack(thing: Any, cuda: Waiting) -> DeviceArray:
    device = thing.__dlpack_device__()[1]
    if device != cuda.device:
        raise ValueError(
            f"the array is on GPU {device}, the student on GPU {cuda.device}: move one of them, as with "
            f"backend='tensorrt:{device}'"
        )
    try:
        capsule = thing.__dlpack__(stream=int(cuda.stream.handle))
    except (BufferError, RuntimeError) as error:  # a tensor that wants gradients, for one
        raise ValueError(f"the array cannot be read through DLPack: {' '.join(str(error).split())}") from None
    tensor = ctypes.cast(_pointer(capsule, b"dltensor"), ctypes.POINTER(_Tensor)).contents
    shape = tuple(tensor.shape[: tensor.ndim])
    if tensor.strides:
        _check_order(shape, tensor.strides[: tensor.ndim])
    # The capsule is not marked as used, and so lets go of the memory by itself.
    return DeviceArray((tensor.data or 0) + tensor.offset, shape, _dtype(tensor), capsule)


def _pointer(capsule: Any, name: bytes) -> int:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    return int(get(capsule, name))


def _dtype(tensor: _Tensor) -> np.dtype[Any]:
    if tensor.lanes == 1 and tensor.kind == BOOL and tensor.bits == 8:
        return np.dtype(np.bool_)
    if tensor.lanes == 1 and tensor.kind in KINDS and tensor.bits in (8, 16, 32, 64):
        return np.dtype(f"{KINDS[tensor.kind]}{tensor.bits // 8}")
    raise ValueError(
        f"the array has elements of {tensor.bits} bits (DLPack's kind {tensor.kind}), which NumPy lacks: "
        "convert it, as to float16"
    )


def _check_order(shape: Sequence[int], strides: Sequence[float]) -> None:
    """strides: in elements."""
    steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    wrong = any(side > 1 and got != step for side, got, step in zip(shape, strides, steps, strict=True))
    if wrong and 0 not in shape:
        raise ValueError(f"a GPU array of shape {tuple(shape)} is not in C order: make it contiguous")
