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

__all__ = ["PrimaryContext", "call", "library", "primary_context"]

NO_GPU = "to run without one, use --backend onnxruntime"
FORKED = (
    "CUDA was started before this process was forked and cannot be used in it: start processes with "
    "multiprocessing's 'spawn', or load the student after the fork"
)
PATIENCE = 10  # seconds for other threads' calls on a GPU that fails


class PrimaryContext:
    """The context that everybody in this process shares on one GPU; pushed only during a call.

    driver  pycuda.driver          gpu  its Device
    lost    whether an error has spoilt it, so that nothing that was made in it can be used any more
    """

    def __init__(self, device: int) -> None:
        self.driver = _driver()
        count = self.driver.Device.count()
        if not 0 <= device < count:
            raise BackendError(f"GPU {device} is not there; allowed are 0 to {count - 1}")
        self.gpu = self.driver.Device(device)
        self.device, self.process, self.lost = device, os.getpid(), False
        self._context = self.gpu.retain_primary_context()
        self._gone = False  # reset, not only spoilt
        self._kept: list[Any] = []  # what was dropped between the one and the other
        self._thread = threading.local()
        self._holders, self._nobody = 0, threading.Condition()
        weakref.finalize(primary_context, self._release)  # at the end, after all that is made in it

    @contextmanager
    def current(self) -> Iterator[None]:
        """It is this thread's current context. Errors of the driver become BackendErrors."""
        with self._pushed():
            try:
                yield
            except self.driver.MemoryError as error:
                raise BackendError(f"GPU {self.device} is out of memory: {_line(error)}") from error
            except self.driver.Error as error:
                raise BackendError(f"GPU {self.device} failed: {_line(error)}{self._after()}") from error

    @contextmanager
    def _pushed(self) -> Iterator[None]:
        if getattr(self._thread, "inside", False):
            yield
            return
        with self.held():
            self._context.push()
            self._thread.inside = True
            try:
                yield
            finally:
                self._thread.inside = False
                with suppress(self.driver.Error) if self.lost else nullcontext():
                    self._context.pop()

    @contextmanager
    def held(self) -> Iterator[None]:
        """It is not reset meanwhile."""
        with self._nobody:
            self._check()
            self._holders += 1
        try:
            yield
        finally:
            with self._nobody:
                self._holders -= 1
                self._nobody.notify_all()

    def _check(self) -> None:
        if os.getpid() != self.process:
            raise BackendError(FORKED)
        if self.lost:
            raise BackendError(
                f"GPU {self.device} was reset after an error, and this frame is lost: try again"
            )

    def probe(self) -> bool:
        """Ask the GPU whether an error has spoilt the context, within `current`.

        An illegal address does, too little memory does not.
        """
        try:
            self.driver.mem_get_info()  # allowed while a graph is captured
        except self.driver.Error:
            self.lost = True
        return self.lost

    def _after(self) -> str:
        return "; this frame is lost, and with the next one the GPU is started anew" if self.probe() else ""

    def drop(self, own: list[Any]) -> None:
        """Let go of pycuda's objects, on whatever thread the last one who held them was.

        A fork's copies are not its own to free, and a reset frees everything.
        """
        if os.getpid() != self.process:
            return
        if self.lost and not self._gone:
            self._kept += own
            own.clear()
            return
        with nullcontext() if self.lost else self.current():
            while own:
                thing = own.pop()
                if isinstance(thing, dict):
                    thing.clear()
                del thing  # before the context goes

    def lose(self) -> None:
        """Reset it, once nobody holds it: everything that was made in it is gone, pinned memory, too."""
        with self._nobody:
            self.lost = True
            own = getattr(self._thread, "inside", False)  # a call that is about to fail as well
            if own or not self._nobody.wait_for(lambda: not self._holders, timeout=PATIENCE):
                raise BackendError(
                    f"GPU {self.device} failed and cannot be started anew, as a thread does not come back "
                    "from it: try again, or start the process again"
                )
        with suppress(self.driver.Error):
            self._release()
        call("cuDevicePrimaryCtxReset_v2", self.device)
        self._gone = True
        self._kept.clear()

    def _release(self) -> None:
        if os.getpid() == self.process and not self._gone:
            self._context.push()
            self._context.detach()  # pycuda would do so too late, as if the context were not the primary one


_contexts: dict[int, PrimaryContext] = {}
_making = threading.Lock()


def primary_context(device: int) -> PrimaryContext:
    """The one of GPU number `device`; a new one where an error has spoilt the old one.

    All that this process has on that GPU is lost then, other libraries' too. Raises BackendError where
    pycuda, the driver or the GPU is missing, and in a process that was forked after CUDA was started.
    """
    with _making:
        if any(context.process != os.getpid() for context in _contexts.values()):
            raise BackendError(FORKED)
        if device in _contexts and _contexts[device].lost:
            _contexts[device].lose()
            del _contexts[device]
        if device not in _contexts:
            _contexts[device] = PrimaryContext(device)
        return _contexts[device]


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
