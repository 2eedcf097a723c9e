"""Arrays of other libraries, through both protocols, over memory of the host."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from wholebody.runtime.foreign import device_array, is_device_array
from wholebody.runtime.gpu import DeviceArray

STREAM = 0x57AE


class Cuda:
    """GPU 0."""

    device = 0
    stream = SimpleNamespace(handle=STREAM)

    def __init__(self) -> None:
        self.waited: list[int] = []

    def wait_for(self, stream: int) -> None:
        self.waited.append(stream)


class Interface:
    """As CuPy's and Numba's."""

    def __init__(self, array: np.ndarray, **entries: Any) -> None:
        self.array = array
        self.__cuda_array_interface__ = {
            "shape": array.shape, "typestr": array.dtype.str, "data": (array.ctypes.data, True), "version": 3,
            **entries,
        }  # fmt: skip


class Tensor:
    """A tensor of PyTorch, on the CPU, that says it is on GPU `device`."""

    def __init__(self, tensor: torch.Tensor, device: int = 0, kind: int = 2) -> None:
        self.tensor, self.place = tensor, (kind, device)
        self.stream: int | None = None

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.place

    def __dlpack__(self, *, stream: int) -> Any:
        self.stream = stream
        return self.tensor.__dlpack__()


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float16, np.float32, np.bool_])
@pytest.mark.parametrize("shape", [(2, 3, 4), (1,), (0, 3), ()])
def test_both_protocols(shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    array = np.ones(shape, dtype)
    for theirs in (Interface(array), Tensor(torch.from_numpy(array))):
        assert is_device_array(theirs)
        got = device_array(theirs, Cuda())
        assert (got.shape, got.dtype) == (shape, np.dtype(dtype))
        if array.size:
            assert got.pointer == array.ctypes.data


def test_what_is_ours_stays_what_it_is() -> None:
    array = DeviceArray(4096, (3, 2), np.dtype(np.float32))
    assert is_device_array(array)
    assert device_array(array, Cuda()) is array
    assert device_array(Interface(np.zeros((3, 2))), Cuda()).__cuda_array_interface__["shape"] == (3, 2)


@pytest.mark.parametrize("thing", [np.zeros(3), torch.zeros(3), [1, 2], "picture.jpg", None])
def test_what_is_on_the_host(thing: Any) -> None:
    assert not is_device_array(thing)


def test_the_memory_is_held() -> None:
    tensor = torch.zeros(5)
    held = device_array(Tensor(tensor), Cuda())
    pointer, seen = tensor.data_ptr(), weakref.ref(tensor.untyped_storage())
    del tensor, seen
    gc.collect()
    other = [torch.zeros(5) for _ in range(100)]
    assert held.pointer == pointer
    assert all(t.data_ptr() != pointer for t in other), "the memory was given away"


def test_our_work_waits_for_theirs() -> None:
    cuda, tensor = Cuda(), Tensor(torch.zeros(3))
    device_array(tensor, cuda)
    assert tensor.stream == STREAM
    device_array(Interface(np.zeros(3), stream=7), cuda)
    device_array(Interface(np.zeros(3), stream=None), cuda)
    assert cuda.waited == [7]


def test_parts_of_tensors() -> None:
    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    got = device_array(Tensor(whole[1:3]), Cuda())
    assert (got.pointer, got.shape) == (whole.data_ptr() + 24, (2, 6))
    one = device_array(Tensor(whole.T[:, :1].T), Cuda())  # strides of sides of 1 say nothing
    assert one.shape == (1, 6)
    padded = Interface(np.zeros((1, 3)), strides=(999, 8))
    assert device_array(padded, Cuda()).shape == (1, 3)


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        (Tensor(torch.zeros(3, 4).T), r"shape \(4, 3\) is not in C order: make it contiguous"),
        (Interface(np.zeros((2, 3)), strides=(8, 16)), r"shape \(2, 3\) is not in C order"),
        (Interface(np.zeros((2, 3)), mask=object()), "with a mask"),
        (Tensor(torch.zeros(3), device=2), "on GPU 2, the student on GPU 0: move one of them"),
        (Tensor(torch.zeros(3, dtype=torch.bfloat16)), r"elements of 16 bits \(DLPack's kind 4\)"),
        (Tensor(torch.zeros(3, dtype=torch.complex64)), r"elements of 64 bits \(DLPack's kind 5\)"),
        (Tensor(torch.zeros(3, requires_grad=True)), "cannot be read through DLPack: "),
    ],
)
def test_what_cannot_be_used(theirs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        device_array(theirs, Cuda())
    assert "\n" not in str(caught.value)
