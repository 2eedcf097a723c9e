"""The primary context of a GPU through pycuda, and the driver's functions that pycuda has no name for."""

from __future__ import annotations

import ctypes
import importlib
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from typing import Any

from wholebody.runtime.errors import BackendError

__all__ = ["PrimaryContext", "call", "library", "primary_context", "reset"]

NO_GPU = "to run without one, use --backend onnxruntime"


class PrimaryContext:
    """The context that everybody in this process shares on one GPU; pushed only during a call.

    driver  pycuda.driver          gpu  its Device          lost  whether it was reset
    """

    def __init__(self, device: int) -> None:
        self.driver = _driver()
        count = self.driver.Device.count()
        if not 0 <= device < count:
            raise BackendError(f"GPU {device} is not there; allowed are 0 to {count - 1}")
        self.gpu = self.driver.Device(device)
        self._device, self._process, self.lost = device, os.getpid(), False
        self._context = self.gpu.retain_primary_context()
        self._thread = threading.local()
        weakref.finalize(primary_context, self._release)  # at the end, after all that is made in it

    @contextmanager
    def current(self) -> Iterator[None]:
        """It is this thread's current context. Errors of the driver become BackendErrors."""
        if getattr(self._thread, "inside", False):
            yield
            return
        self._check()
        self._context.push()
        self._thread.inside = True
        try:
            yield
        except self.driver.MemoryError as error:
            raise BackendError(f"GPU {self._device} is out of memory: {_line(error)}") from error
        except self.driver.Error as error:
            raise BackendError(f"GPU {self._device} failed: {_line(error)}") from error
        finally:
            self._thread.inside = False
            self._context.pop()

    def _check(self) -> None:
        if os.getpid() != self._process:
            raise BackendError(
                "CUDA was started before this process was forked and cannot be used in it: start processes "
                "with multiprocessing's 'spawn', or load the student after the fork"
            )
        if self.lost:
            raise BackendError(f"GPU {self._device} was reset after an error: load the student again")

    def drop(self, own: list[Any]) -> None:
        """Let go of pycuda's objects, on whatever thread the last one who held them was.

        A fork's copies are not its own to free, and a reset has freed everything.
        """
        if os.getpid() != self._process:
            return
        with nullcontext() if self.lost else self.current():
            while own:
                thing = own.pop()
                if isinstance(thing, dict):
                    thing.clear()
                del thing  # before the context goes

    def lose(self) -> None:
        """Everything that was made in it is gone."""
        with suppress(self.driver.Error):
            self._release()
        self.lost = True

    def _release(self) -> None:
        if os.getpid() == self._process and not self.lost:
            self._context.push()
            self._context.detach()  # pycuda would do so too late, as if the context were not the primary one


_contexts: dict[int, PrimaryContext] = {}
_making = threading.Lock()


def primary_context(device: int) -> PrimaryContext:
    """The one of GPU number `device`. Raises BackendError where pycuda, the driver or the GPU is missing."""
    with _making:
        if device not in _contexts or _contexts[device]._process != os.getpid():
            _contexts[device] = PrimaryContext(device)
        return _contexts[device]


def reset(device: int = 0) -> None:
    """Give a GPU a new context after an error that has spoilt its old one, such as an illegal address.

    All that this process has on that GPU is lost, other libraries' too; what is made from now on works.
    """
    with _making:
        context = _contexts.pop(device, None)
    if context is not None:
        context.lose()
    call("cuDevicePrimaryCtxReset_v2", device)


def call(function: str, *arguments: Any) -> None:
    """A function of the driver that answers with a status; BackendError names what failed."""
    status = getattr(library(), function)(*arguments)
    if status:
        text = ctypes.c_char_p()
        library().cuGetErrorString(status, ctypes.byref(text))
        raise BackendError(f"CUDA: {function} failed: {(text.value or b'unknown error').decode()}")


@cache
def library() -> ctypes.CDLL:
    """The driver itself."""
    return ctypes.CDLL("libcuda.so.1")


def _driver() -> Any:
    """pycuda.driver, initialised."""
    try:
        driver = importlib.import_module("pycuda.driver")  # no types, and on few machines
    except ImportError as error:
        if "libcuda" in str(error):
            cure = "install the NVIDIA driver (in a container: --gpus all)"
        else:
            cure = "pip install pycuda, which needs CUDA's headers"
        raise BackendError(f"pycuda cannot be imported ({_line(error)}): {cure}; {NO_GPU}") from error
    try:
        driver.init()
    except driver.Error as error:
        raise BackendError(f"no GPU is found ({_line(error)}): see nvidia-smi; {NO_GPU}") from error
    return driver


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
