"""Frames from a camera's thread to a pipeline on a GPU, without a copy on the CPU and without waiting."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wholebody.runtime.cuda import Cuda, Event
from wholebody.runtime.errors import BackendError
from wholebody.runtime.geometry import Pixels
from wholebody.runtime.gpu import DeviceArray

__all__ = ["CameraRing", "Overrun"]

Overrun = Literal["newest", "wait"]
LEAST = 3  # slots: one that is written, one that waits, one that is read


@dataclass(eq=False)
class _Slot:
    """One frame, in pinned memory and on the GPU; `uploaded` is passed once both are the same."""

    pinned: Pixels
    device: DeviceArray
    uploaded: Event


class CameraRing:
    """One thread writes, `with ring.slot() as frame: camera.read(frame)`, and one reads, `for frame in ring:
    people = pose(frame)`.

    shape    of a frame of uint8: (H, W, 3), blue, green, red; or NV12, (3H/2, W)
    device   the GPU's number
    overrun  what happens to frames that nobody took in time: "newest" drops them, so that the reader always
             gets the newest one and the camera never waits; "wait" keeps them all in order, and the camera's
             thread waits for a slot, as is right for files
    slots    3 or more; more than 3 are of use with "wait" only

    `dropped` counts the frames that nobody got. The camera writes a slot of pinned memory while the GPU
    copies another one, on a stream of the ring's own, and the pipeline works on a third. All memory is made
    at the beginning.

    Where the GPU was lost to an error, a frame that is being written fails, others in the ring are dropped,
    and the next one works. Raises ValueError for an option that is not allowed, BackendError where the GPU is
    missing or fails.
    """

    def __init__(
        self, shape: Sequence[int], *, device: int = 0, overrun: Overrun = "newest", slots: int = LEAST
    ) -> None:
        if overrun not in ("newest", "wait"):
            raise ValueError(f"overrun is {overrun!r}; allowed are newest, wait")
        if slots < LEAST:
            raise ValueError(f"slots is {slots}; allowed is {LEAST} or more")
        self.dropped = 0
        self._shape, self._count, self._overrun = tuple(shape), slots, overrun
        self._changed, self._closed = threading.Condition(), False
        self._open(Cuda(device))

    def _open(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._free = deque(self._new() for _ in range(self._count))
        self._ready: deque[_Slot] = deque()
        self._held: _Slot | None = None

    def _new(self) -> _Slot:
        cuda, shape = self._cuda, self._shape
        return _Slot(cuda.pinned(shape, np.uint8), cuda.empty(shape, np.uint8), cuda.event())

    # --- the camera's thread ------------------------------------------------------------------------------

    @contextmanager
    def slot(self) -> Iterator[Pixels]:
        """Memory for the next frame, to be filled within; afterwards it is on its way to the GPU.

        After an error within there is no such frame. Raises ValueError where the ring was closed,
        BackendError where the GPU fails.
        """
        slot, cuda = self._next_free(), self._cuda
        written = False
        try:
            with cuda.held():
                slot.uploaded.synchronize()  # a frame that was dropped may still be copied
                yield slot.pinned
                cuda.copy_in(slot.pinned, slot.device)
                slot.uploaded.record()
            written = True
        finally:
            self._give(slot, cuda, written)

    def _next_free(self) -> _Slot:
        with self._changed:
            self._renew()
            self._changed.wait_for(lambda: self._free or self._closed)
            if self._closed:
                raise ValueError("the ring is closed: no more frames are taken")
            return self._free.popleft()

    def _give(self, slot: _Slot, cuda: Cuda, written: bool) -> None:
        with self._changed:
            if cuda is not self._cuda:  # lost meanwhile, and the slot with it
                self.dropped += written
                return
            if written and self._overrun == "newest":
                self.dropped += len(self._ready)
                self._free += self._ready
                self._ready.clear()
            (self._ready if written else self._free).append(slot)
            self._changed.notify_all()

    # --- the reader's thread ------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[DeviceArray]:
        """Frames on the GPU until the ring is closed; each is good until the next one is asked for."""
        while (slot := self._next_ready()) is not None:
            cuda = self._cuda
            try:
                slot.uploaded.synchronize()
            except BackendError:
                if not cuda.lost:
                    raise
                self.dropped += 1
            else:
                yield slot.device

    def _next_ready(self) -> _Slot | None:
        with self._changed:
            self._renew()
            if self._held is not None:
                self._free.append(self._held)
                self._held = None
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._ready or self._closed)
            if not self._ready:
                return None
            self._held = self._ready.popleft()
            return self._held

    def _renew(self) -> None:
        """Make everything anew where the GPU was lost."""
        if self._cuda.lost:
            self.dropped += len(self._ready)
            self._open(Cuda(self._cuda.device))

    def close(self) -> None:
        """No more frames come; the reader gets those that are there, and is done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
