"""One picture from a file, one picture into a file."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from wholebody.runtime.errors import SourceError
from wholebody.runtime.media.headers import FORMATS, MAGIC_LENGTH, picture_format, read_header
from wholebody.runtime.media.quiet import quiet_opencv

__all__ = ["MAX_PIXELS", "Image", "is_picture", "read_image", "write_image"]

Image = NDArray[np.uint8]

# The largest phone cameras; 600 MB once decoded. What announces more is a decompression bomb or a map.
MAX_PIXELS = 200_000_000


def read_image(path: str | Path) -> Image:
    """Read a JPEG, PNG, WebP, BMP or TIFF picture upright, whatever its kind of pixels.

    Returns (H, W, 3) uint8 BGR. Grey and palette pictures become colour, 16-bit samples are scaled to 8
    bit, an EXIF orientation is applied. Alpha is dropped, as in the pictures that students are trained on:
    the people of a cut-out keep their colours, and no invented background takes part.
    Raises SourceError where the file is missing, no picture, cut off or damaged, or has more than MAX_PIXELS.
    """
    path = Path(path)
    data = _read_picture_bytes(path)
    header, kind = read_header(data), picture_format(data)
    if header.width * header.height > MAX_PIXELS:
        raise SourceError(
            f"{path} is too large: {header.width} x {header.height} pixels, where at most "
            f"{MAX_PIXELS // 10**6} megapixels are read; scale it down"
        )
    if not header.whole:
        raise SourceError(
            f"{path} is cut off or damaged: its {len(data)} bytes are no whole {kind} picture; copy it again"
        )
    image = _decode(data)
    if image is None:
        raise SourceError(
            f"{path} cannot be decoded: damaged, or a {kind} of an unusual kind; save it again as PNG"
        )
    return image


def write_image(path: str | Path, image: Image) -> None:
    """Write (H, W, 3) uint8 BGR as JPEG or PNG, as the name's ending says; the file appears when it is whole.

    Raises SourceError where it cannot be written.
    """
    path = Path(path)
    data = _encode(path.suffix, image)
    if data is None:
        raise SourceError(
            f"cannot write {path}: {image.shape[1]} x {image.shape[0]} pixels do not fit its format; try .png"
        )
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise SourceError(f"cannot write {path}: {error.strerror}; choose another output folder") from error


def is_picture(path: Path) -> bool:
    """Whether the file begins like a picture that `read_image` knows. Raises OSError."""
    with path.open("rb") as file:
        return picture_format(file.read(MAGIC_LENGTH)) is not None


def _read_picture_bytes(path: Path) -> bytes:
    if not path.exists():
        raise SourceError(f"{path} does not exist: expected a picture, video or folder")
    if not path.is_file():
        raise SourceError(f"{path} is no file: expected one picture")
    try:
        with path.open("rb") as file:
            start = file.read(MAGIC_LENGTH)
            if picture_format(start) is None:
                allowed = ", ".join(FORMATS)
                raise SourceError(
                    f"{path} is not a picture: its content is none of {allowed}; convert it first"
                )
            return start + file.read()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}; check its permissions") from error


def _decode(data: bytes) -> Image | None:
    try:
        with quiet_opencv():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except (cv2.error, MemoryError):
        return None
    return None if image is None else np.asarray(image, np.uint8)


def _encode(suffix: str, image: Image) -> bytes | None:
    try:
        with quiet_opencv():
            done, data = cv2.imencode(suffix, image)
    except cv2.error:
        return None
    return data.tobytes() if done else None
