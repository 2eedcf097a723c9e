"""What a picture file says of itself, read before anything is decoded.

OpenCV decodes what it is given: a header that announces gigabytes, and in its version 4 also half a JPEG,
whose missing rows come out grey. The bytes alone tell both.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["FORMATS", "MAGIC_LENGTH", "Header", "picture_format", "read_header"]

MAGIC_LENGTH = 12
# Inside JPEG's entropy-coded data FF is followed by 00 or a restart marker; anything else ends the scan.
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_STANDALONE = frozenset({0x00, 0x01, 0xFF, *range(0xD0, 0xD8)})  # fill bytes and markers without a length
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257


@dataclass(frozen=True)
class Header:
    """Width and height in pixels as stored (before any EXIF rotation), and whether all the data are there."""

    width: int
    height: int
    whole: bool


def picture_format(start: bytes) -> str | None:
    """Name of the format that a file's first MAGIC_LENGTH bytes belong to, or None."""
    if start[:4] == b"RIFF":
        return "WebP" if start[8:12] == b"WEBP" else None
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)


def read_header(data: bytes) -> Header:
    """Header of a file's bytes, whose format is known; width and height are 0 where they are cut off."""
    try:
        return FORMATS[picture_format(data) or ""](data)
    except (struct.error, IndexError):
        return Header(0, 0, whole=False)


def _jpeg(data: bytes) -> Header:
    width = height = 0
    position = 2
    while (position := data.find(b"\xff", position)) >= 0 and position + 1 < len(data):
        marker = data[position + 1]
        if marker == _END_OF_IMAGE:
            return Header(width, height, whole=True)
        if marker in _STANDALONE:
            position += 1
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", data, position + 5)
        position += 2 + length
        if marker == _START_OF_SCAN:
            end = _END_OF_SCAN.search(data, position)
            position = end.start() if end else len(data)
    return Header(width, height, whole=False)


def _png(data: bytes) -> Header:
    width, height = struct.unpack_from(">II", data, 16)
    position = 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        checksum = data[position + 8 + length : position + 12 + length]
        critical = kind[:1].isupper()
        if critical and zlib.crc32(data[position + 4 : position + 8 + length]) != int.from_bytes(
            checksum, "big"
        ):
            break
        if kind == b"IEND":
            return Header(width, height, whole=True)
        position += 12 + length
    return Header(width, height, whole=False)


def _webp(data: bytes) -> Header:
    whole = len(data) >= 8 + struct.unpack_from("<I", data, 4)[0]
    kind = data[12:16]
    if kind == b"VP8X":
        sides = int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    elif kind == b"VP8L":
        (packed,) = struct.unpack_from("<I", data, 21)
        sides = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    else:
        width, height = struct.unpack_from("<HH", data, 26)
        sides = width & 0x3FFF, height & 0x3FFF
    return Header(*sides, whole=whole)


def _bmp(data: bytes) -> Header:
    (header_size,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header_size == 12 else "<ii", data, 18)
    return Header(abs(width), abs(height), whole=True)  # OpenCV refuses a short one itself


def _tiff(data: bytes) -> Header:
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, directory)
    sides = {_TIFF_WIDTH: 0, _TIFF_HEIGHT: 0}
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        if tag in sides:
            (sides[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)
    return Header(sides[_TIFF_WIDTH], sides[_TIFF_HEIGHT], whole=True)  # OpenCV refuses a short one itself


FORMATS: dict[str, Callable[[bytes], Header]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WebP": _webp,
    "BMP": _bmp,
    "TIFF": _tiff,
}
_MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
}
