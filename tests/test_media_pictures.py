"""Reading and writing pictures."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from wholebody.runtime.errors import SourceError
from wholebody.runtime.media import MAX_PIXELS, Image, read_image, write_image
from wholebody.runtime.media.headers import FORMATS, picture_format, read_header

BLUE, GREEN, RED = (255, 0, 0), (0, 255, 0), (0, 0, 255)
SUFFIXES = (".jpg", ".png", ".webp", ".bmp", ".tif")


def sample(height: int = 40, width: int = 60) -> Image:
    """Red left half, blue right half, green band below: tells every rotation and channel order apart."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2], image[:, width // 2 :], image[-height // 4 :] = RED, BLUE, GREEN
    return image


def noise(height: int = 40, width: int = 60) -> Image:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(suffix: str, image: np.ndarray) -> bytes:
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1] if suffix == ".progressive.jpg" else []
    return cv2.imencode(suffix[suffix.rindex(".") :], image, options)[1].tobytes()


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """The JPEG with an APP1 segment whose one EXIF entry is the orientation."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"MM\x00*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    body = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def png(
    width: int, height: int, chunks: list[tuple[bytes, bytes]], *, depth: int = 8, color: int = 2
) -> bytes:
    """A PNG made by hand, which OpenCV cannot write: palettes and lies."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    parts = [header, *chunks, (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body


def saved(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_is_read_as_bgr(tmp_path: Path, suffix: str) -> None:
    image = read_image(saved(tmp_path, f"x{suffix}", encoded(suffix, sample())))
    assert image.shape == (40, 60, 3)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - sample())[5:25, 5:25].max() < 20


def test_the_content_counts_and_not_the_ending(tmp_path: Path) -> None:
    assert np.array_equal(read_image(saved(tmp_path, "x.jpg", encoded(".png", sample()))), sample())


def test_one_pixel(tmp_path: Path) -> None:
    path = saved(tmp_path, "x.png", encoded(".png", np.full((1, 1, 3), 7, np.uint8)))
    assert np.array_equal(read_image(path), np.full((1, 1, 3), 7, np.uint8))


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    grey = np.arange(100, dtype=np.uint8).reshape(10, 10)
    image = read_image(saved(tmp_path, "x.png", encoded(".png", grey)))
    assert np.array_equal(image, np.dstack([grey] * 3))


def test_palette(tmp_path: Path) -> None:
    rows = b"".join(b"\x00" + bytes([0, 1, 1]) for _ in range(2))
    chunks = [(b"PLTE", bytes((255, 0, 0, 0, 0, 255))), (b"IDAT", zlib.compress(rows))]
    image = read_image(saved(tmp_path, "x.png", png(3, 2, chunks, color=3)))
    assert np.array_equal(image, np.array([[RED, BLUE, BLUE]] * 2, np.uint8))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path, suffix: str, channels: int) -> None:
    levels = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    wide = levels if channels == 1 else np.dstack([levels] * 3)
    image = read_image(saved(tmp_path, f"x{suffix}", encoded(suffix, wide)))
    assert image.dtype == np.uint8
    assert image[0, :, 0].tolist() == [0, 1, 128, 255]


def test_alpha_is_dropped_and_the_colours_stay(tmp_path: Path) -> None:
    alpha = np.tile(np.linspace(0, 255, 60).astype(np.uint8), (40, 1))
    path = saved(tmp_path, "x.png", encoded(".png", np.dstack([sample(), alpha])))
    assert np.array_equal(read_image(path), sample())


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda image: image),
        (2, lambda image: image[:, ::-1]),
        (3, lambda image: np.rot90(image, 2)),
        (6, lambda image: np.rot90(image, -1)),
        (8, lambda image: np.rot90(image, 1)),
    ],
)
def test_exif_orientation_is_applied(
    tmp_path: Path, orientation: int, upright: Callable[[Image], Image]
) -> None:
    path = saved(tmp_path, "x.jpg", with_orientation(encoded(".jpg", sample()), orientation))
    image, expected = read_image(path), upright(sample())
    assert image.shape == expected.shape
    assert np.median(np.abs(image.astype(int) - expected)) < 10


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".progressive.jpg"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.95, "all but 3 bytes"])
def test_a_truncated_picture_is_refused_without_chatter(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str, share: float | str
) -> None:
    data = encoded(suffix, noise())
    cut = data[:-3] if isinstance(share, str) else data[: int(share * len(data))]
    with pytest.raises(SourceError, match=r"cut off|not a picture|cannot be decoded") as caught:
        read_image(saved(tmp_path, f"x{suffix}", cut))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_truncated_jpeg_says_so(tmp_path: Path) -> None:
    data = encoded(".jpg", noise())
    with pytest.raises(SourceError, match="is cut off or damaged"):
        read_image(saved(tmp_path, "x.jpg", data[: len(data) // 2]))


@pytest.mark.parametrize("suffix", [".jpg", ".progressive.jpg", ".png"])
def test_bytes_after_the_end_do_no_harm(tmp_path: Path, suffix: str) -> None:
    data = encoded(suffix, noise())
    path = saved(tmp_path, f"x{suffix}", data + b"\xff\xd8trailing\x00" * 50)
    alone = saved(tmp_path, f"y{suffix}", data)
    assert np.array_equal(read_image(path), read_image(alone))


def test_a_thumbnails_end_is_not_the_pictures_end(tmp_path: Path) -> None:
    thumbnail, data = encoded(".jpg", sample(8, 8)), encoded(".jpg", noise())
    segment = b"\xff\xe2" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    with_thumbnail = data[:2] + segment + data[2:]
    read_image(saved(tmp_path, "whole.jpg", with_thumbnail))
    with pytest.raises(SourceError, match="cut off"):
        read_image(saved(tmp_path, "cut.jpg", with_thumbnail[: len(with_thumbnail) - len(data) // 2]))


def test_a_png_with_a_changed_byte_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(encoded(".png", noise()))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(SourceError, match="damaged"):
        read_image(saved(tmp_path, "x.png", bytes(data)))
    assert capfd.readouterr() == ("", "")


def test_a_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    bomb = png(30_000, 30_000, [(b"IDAT", zlib.compress(b"\x00" * 10))])
    with pytest.raises(SourceError, match="30000 x 30000 pixels, where at most 200 megapixels are read"):
        read_image(saved(tmp_path, "x.png", bomb))


def test_the_largest_phone_cameras_fit_the_limit() -> None:
    assert 12_000 * 9_000 < 16_320 * 12_240 <= MAX_PIXELS


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".progressive.jpg"])
@pytest.mark.parametrize("size", [(1, 1), (31, 17), (300, 1000)])
def test_headers_tell_the_size(suffix: str, size: tuple[int, int]) -> None:
    data = encoded(suffix, noise(*size))
    header = read_header(data)
    assert picture_format(data) in FORMATS
    assert (header.height, header.width, header.whole) == (*size, True)


def test_headers_of_webp_variants() -> None:
    lossless = cv2.imencode(".webp", noise(31, 17), [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    extended = encoded(".webp", np.dstack([sample(31, 17), sample(31, 17)[..., :1]]))
    for data in (lossless, extended):
        header = read_header(data)
        assert (header.height, header.width, header.whole) == (31, 17, True)


def test_a_big_endian_tiff_header() -> None:
    entries = struct.pack(">HHIHHHHII", 256, 3, 1, 17, 0, 257, 4, 1, 31)
    data = b"MM\x00*" + struct.pack(">IH", 8, 2) + entries
    header = read_header(data)
    assert (header.width, header.height) == (17, 31)


def test_what_is_no_picture(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder.jpg").mkdir()
    cases = {
        tmp_path / "missing.jpg": "does not exist",
        tmp_path / "folder.jpg": "is no file",
        saved(
            tmp_path, "text.jpg", b"hello"
        ): "is not a picture: its content is none of JPEG, PNG, WebP, BMP, TIFF",
        saved(tmp_path, "empty.jpg", b""): "is not a picture",
        saved(tmp_path, "sound.webp", b"RIFF\x00\x00\x00\x00WAVE"): "is not a picture",
    }
    for path, reason in cases.items():
        with pytest.raises(SourceError, match=reason) as caught:
            read_image(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_real_photographs(shared: Path) -> None:
    image = read_image(shared / "data" / "images" / "dope_015994080.jpg")
    assert image.shape == (720, 1280, 3)


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.JPG"])
def test_written_pictures_come_back(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / name, sample())
    assert np.median(np.abs(read_image(tmp_path / name).astype(int) - sample())) < 10
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot write"):
        write_image(tmp_path / "missing" / "x.png", sample())
    with pytest.raises(SourceError, match="70000 x 1 pixels do not fit"):
        write_image(tmp_path / "x.jpg", np.zeros((1, 70_000, 3), np.uint8))
    assert not list(tmp_path.iterdir())
