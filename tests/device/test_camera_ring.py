"""Frames through the ring: none is torn, none comes twice, and memory is made once."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from wholebody.runtime.errors import BackendError
from wholebody.runtime.video.camera_ring import CameraRing

SHAPE = (6, 8, 3)


@pytest.fixture
def here(device: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The ring's own GPU; a new one where it was lost."""

    def opened(number: int) -> Any:
        return device.renewed(number) if device.cuda.lost else device.cuda

    monkeypatch.setattr("wholebody.runtime.video.camera_ring.Cuda", opened)
    return device


def write(ring: CameraRing, value: int) -> None:
    with ring.slot() as frame:
        frame[:] = value


def read(here: Any, frame: Any) -> int:
    host = here.cuda.download(frame)
    assert host.shape == SHAPE
    assert (host == host.flat[0]).all(), "a torn frame"
    return int(host.flat[0])


def test_the_reader_gets_the_newest(here: Any) -> None:
    ring = CameraRing(SHAPE)
    for value in range(5):
        write(ring, value)
    frames = iter(ring)
    assert read(here, next(frames)) == 4
    assert ring.dropped == 4
    write(ring, 5)
    assert read(here, next(frames)) == 5
    ring.close()
    assert list(frames) == []
    assert ring.dropped == 4


def test_a_frame_is_good_until_the_next_one(here: Any) -> None:
    ring = CameraRing(SHAPE)
    write(ring, 1)
    frames = iter(ring)
    held = next(frames)
    for value in range(2, 9):
        write(ring, value)
        assert read(here, held) == 1
    assert read(here, next(frames)) == 8


@pytest.mark.parametrize("slots", [3, 5])
def test_in_order_the_camera_waits(here: Any, slots: int) -> None:
    ring, got = CameraRing(SHAPE, overrun="wait", slots=slots), []

    def camera() -> None:
        for value in range(40):
            write(ring, value)
        ring.close()

    thread = threading.Thread(target=camera)
    thread.start()
    for frame in ring:
        got.append(read(here, frame))
    thread.join()
    assert got == list(range(40))
    assert ring.dropped == 0


def test_nothing_is_allocated(here: Any) -> None:
    ring = CameraRing(SHAPE)
    frames, before = iter(ring), here.cuda.allocations
    for value in range(10):
        write(ring, value)
        assert read(here, next(frames)) == value
    assert here.cuda.allocations == before


def test_a_camera_that_fails(here: Any) -> None:
    ring = CameraRing(SHAPE)

    def fail() -> None:
        with ring.slot() as frame:
            frame[:] = 99
            raise OSError("unplugged")

    for _ in range(5):
        with pytest.raises(OSError, match="unplugged"):
            fail()
    write(ring, 1)
    assert read(here, next(iter(ring))) == 1
    assert ring.dropped == 0


def test_a_gpu_that_is_lost(here: Any) -> None:
    ring = CameraRing(SHAPE)
    frames = iter(ring)
    write(ring, 1)
    here.cuda.spoilt = True
    with pytest.raises(BackendError, match="illegal memory access"):
        here.cuda.synchronize()  # whoever meets it
    write(ring, 2)
    assert read(here, next(frames)) == 2
    assert ring.dropped == 1
    write(ring, 3)
    here.cuda.spoilt = True  # met by the reader
    threading.Timer(0.2, write, (ring, 4)).start()
    assert read(here, next(frames)) == 4
    assert ring.dropped == 2


def test_a_closed_ring(here: Any) -> None:
    ring = CameraRing(SHAPE)
    write(ring, 7)
    ring.close()
    with pytest.raises(ValueError, match="the ring is closed"):
        write(ring, 8)
    assert [read(here, frame) for frame in ring] == [7]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overrun": "drop"}, "overrun is 'drop'; allowed are newest, wait"),
        ({"slots": 2}, "slots is 2; allowed is 3 or more"),
    ],
)
def test_options(here: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CameraRing(SHAPE, **options)


def test_memory_on_the_gpu_that_pipelines_take(here: Any) -> None:
    from wholebody.runtime.foreign import device_array, is_device_array

    ring = CameraRing((9, 8))  # NV12
    with ring.slot() as frame:
        frame[:] = np.arange(8)
    picture = next(iter(ring))
    assert is_device_array(picture)
    assert device_array(picture, here.cuda) is picture
    np.testing.assert_array_equal(here.cuda.download(picture)[3], np.arange(8))
