"""Every kernel's work for `gpu_check`, at sizes in use and at awkward ones, against its reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wholebody.benchmarks.ppi import CASES, Case, Proposals, crowd
from wholebody.runtime.geometry import letterbox, preprocess
from wholebody.runtime.gpu import Gpu
from wholebody.runtime.kernels.crop import crop_affines, crops
from wholebody.runtime.kernels.crop_gpu import GpuCropper, opencv_is_fixed_point
from wholebody.runtime.kernels.detections import decode_yolox
from wholebody.runtime.kernels.heatmap import decode_heatmaps
from wholebody.runtime.kernels.heatmap_gpu import HeatmapDecoder
from wholebody.runtime.kernels.letterbox import Letterboxer, letterbox_in
from wholebody.runtime.kernels.oks import oks_nms
from wholebody.runtime.kernels.oks_gpu import GpuOksNms
from wholebody.runtime.kernels.person_boxes_gpu import GpuPersonBoxes
from wholebody.runtime.kernels.pose_nms import pose_nms
from wholebody.runtime.kernels.pose_nms_gpu import GpuPoseNms
from wholebody.runtime.kernels.ppi import PpiOptions, integrate
from wholebody.runtime.kernels.ppi_gpu import GpuPpi
from wholebody.runtime.kernels.preprocess_gpu import GpuLetterboxer, GpuPreprocessor
from wholebody.runtime.kernels.proposals import Detections, select_best_class
from wholebody.runtime.kernels.simcc import decode_simcc
from wholebody.runtime.kernels.simcc_gpu import SimccDecoder
from wholebody.runtime.spec import CropInput, DetectorInput, InputSpec

__all__ = ["Work", "large", "many", "small"]

INPUT = InputSpec(800, 1344, 800, 1344, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
DETECTOR = DetectorInput(640, 640, (103.53, 116.28, 123.675), (57.375, 57.12, 58.395), "bgr")
CROP = CropInput(384, 288, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "rgb")
SCALE = 1.3712345, 1.3698765


@dataclass(frozen=True)
class Work:
    """Something that kernels do.

    runs   the same work on different memory: taken in turn, nothing is left in a cache from the last time
    check  does it once, and answers with the largest difference from the reference; AssertionError where
           that is too large
    moved  bytes that must at least be read and written
    aim    microseconds it may take, or None
    """

    name: str
    runs: Sequence[Callable[[], Any]]
    check: Callable[[], float]
    moved: int = 0
    aim: float | None = None


def large(gpu: Gpu) -> Iterator[Work]:
    """Work as pipelines have it, at the sizes for which there are aims."""
    yield _preprocess(gpu, "preprocess 1080p to 800x1344", 1080, 1920, np.float16, copies=32)
    yield _preprocess(gpu, "preprocess 1080p to 800x1344", 1080, 1920, np.float32, copies=32)
    yield _preprocess(gpu, "preprocess 1080p NV12 to 800x1344", 1080, 1920, np.float16, nv12=True)
    yield _levels(gpu, "letterbox 1080p to 640x640", 1080, 1920)
    yield _crops(gpu, 16, aim=60)
    yield _crops(gpu, 16, nv12=True)
    yield _yolox(gpu, 0.9, (640, 640), classes=80)
    yield _simcc(gpu, 16, 133)
    yield _heatmaps(gpu, 16, 17, udp=False)
    yield _heatmaps(gpu, 16, 17, udp=True)
    yield _oks(gpu, 32, 133)
    yield _nms(gpu, Case("body", 40, 13, 20), crowd(Case("body", 40, 13, 20)), aim=100)
    for case in CASES:
        yield _ppi(gpu, case, crowd(case), PpiOptions(case.K), aim=500 if case.part == "body" else None)


def small(gpu: Gpu) -> Iterator[Work]:
    """Nothing, one, and sizes that fit no block."""
    body, hand, face = CASES
    for height, width in ((1, 1), (3, 2), (301, 403), (10, 1000)):
        for dtype in (np.float32, np.float16):
            yield _preprocess(gpu, f"preprocess {width}x{height}", height, width, dtype)
    yield _preprocess(gpu, "preprocess NV12", 94, 62, np.float32, nv12=True)
    for height, width in ((1, 1), (301, 403)):
        yield _levels(gpu, f"letterbox {width}x{height}", height, width)
    yield _yolox(gpu, 0.5)
    yield _yolox(gpu, 0.0)
    for people in (0, 1, 5):
        yield _crops(gpu, people)
        yield _crops(gpu, people, nv12=True)
        yield _simcc(gpu, people, 17, (31, 97))
        yield _heatmaps(gpu, people, 3, udp=True)
        yield _oks(gpu, people, 21)
    for count in (0, 1, 65, 200):
        yield _nms(gpu, hand, _first(crowd(hand, 3, 40, 80), count))
        yield _ppi(gpu, face, _first(crowd(face, 3, 40, 80), count), PpiOptions(face.K))
    yield _ppi(gpu, body, _first(crowd(body), 120), PpiOptions(body.K, iou_func="torsoLR"))
    yield _ppi(gpu, hand, _first(crowd(hand), 120), PpiOptions(hand.K, iou_func="mje"))
    yield _ppi(gpu, body, _first(crowd(body), 60), PpiOptions(body.K, group_by="pose"), room=1)


def many(gpu: Gpu) -> Iterator[Work]:
    """More than a block, a word or a cache holds."""
    yield _preprocess(gpu, "preprocess 3840x2160", 2160, 3840, np.float16)
    case = Case("body", 2, 13, 1)
    yield _nms(gpu, case, crowd(case, people=40, each=100, clutter=1000))
    yield _ppi(gpu, case, crowd(case, people=50, each=60, clutter=2000), PpiOptions(1, score_th=0.3))


# --- one kernel each ----------------------------------------------------------------------------------------


def _preprocess(
    gpu: Gpu, name: str, height: int, width: int, dtype: Any, *, nv12: bool = False, copies: int = 1
) -> Work:
    import cv2

    rng = np.random.default_rng(0)
    shape = (height * 3 // 2, width) if nv12 else (height, width, 3)
    picture = rng.integers(0, 256, shape, dtype=np.uint8)
    bgr = np.asarray(cv2.cvtColor(picture, cv2.COLOR_YUV2BGR_NV12), np.uint8) if nv12 else picture
    box = letterbox((height, width), INPUT)
    made = [(GpuPreprocessor(gpu, INPUT, dtype), gpu.upload(picture)) for _ in range(copies)]

    def check() -> float:
        got = gpu.download(made[0][0](made[0][1], box))
        step = 2.0**-10 if dtype == np.float16 else 2.0**-22  # of numbers up to 2.7, and of OpenCV's pixels
        limit = 3 * step + 4.5 * 2.0**-23 * max(height, width)
        return _apart(got, preprocess(bgr, box, INPUT), limit)

    moved = picture.nbytes + 3 * INPUT.height * INPUT.width * np.dtype(dtype).itemsize
    runs = [lambda p=p, i=i: p(i, box) for p, i in made]
    return Work(f"{name} {np.dtype(dtype).name}", runs, check, moved)


def _levels(gpu: Gpu, name: str, height: int, width: int) -> Work:
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    box = letterbox_in((height, width), DETECTOR)
    process, on_gpu = GpuLetterboxer(gpu, DETECTOR, np.float16), gpu.upload(picture)

    def check() -> float:
        apart = np.abs(gpu.download(process(on_gpu, box)) - Letterboxer(DETECTOR)(picture, box))
        levels = apart * np.array(DETECTOR.std, np.float32)[:, None, None]
        return _apart(
            levels, 0 * levels, 1.2
        )  # levels of 255, that OpenCV and half precision round otherwise

    moved = picture.nbytes + 3 * DETECTOR.height * DETECTOR.width * 2
    return Work(f"{name} float16", [lambda: process(on_gpu, box)], check, moved)


def _yolox(gpu: Gpu, least: float, size: tuple[int, int] = (96, 64), classes: int = 2) -> Work:
    rng = np.random.default_rng(0)
    count = sum((size[0] // s) * (size[1] // s) for s in (8, 16, 32))
    anchors = rng.normal(0, 1, (count, 5 + classes)).astype(np.float32)
    anchors[:, 4:] = rng.uniform(0, 1, (count, 1 + classes))
    decode, on_gpu = GpuPersonBoxes(gpu, count, size, min_score=least), gpu.upload(anchors)

    def check() -> float:
        decode.yolox(on_gpu)
        got = decode.unpack(gpu.download(decode.first))
        boxes, score = decode_yolox(anchors, size, min_score=least)
        np.testing.assert_allclose(got[1], score, atol=1e-6)
        return _apart(got[0], boxes, 1e-2)

    return Work(f"YOLOX of {count} cells from {least}", [lambda: decode.yolox(on_gpu)], check, anchors.nbytes)


def _crops(gpu: Gpu, people: int, aim: float | None = None, *, nv12: bool = False) -> Work:
    import cv2

    rng = np.random.default_rng(people)
    picture = rng.integers(0, 256, (1620, 1920) if nv12 else (1080, 1920, 3), dtype=np.uint8)
    image = np.asarray(cv2.cvtColor(picture, cv2.COLOR_YUV2BGR_NV12), np.uint8) if nv12 else picture
    corner = rng.uniform(-50, 900, (people, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(20, 700, (people, 2))], axis=1).astype(np.float32)
    affines = crop_affines(boxes, (CROP.width, CROP.height))
    crop, source, places = GpuCropper(gpu, CROP, max(people, 1)), gpu.upload(picture), gpu.upload(affines)

    def check() -> float:
        got, expected = gpu.download(crop(source, places)), crops(image, affines, CROP)
        levels = np.abs(got - expected) * np.array(CROP.std, np.float32)[:, None, None]
        if opencv_is_fixed_point():
            return _apart(got, expected, 0)
        assert (levels > 0.5).mean() < 5e-3 if people else True  # OpenCV 5 fuses its sums as it likes
        return _apart(levels, 0 * levels, 1.01)

    return Work(f"{people} crops 384x288{' of NV12' * nv12}", [lambda: crop(source, places)], check, 0, aim)


def _simcc(gpu: Gpu, people: int, joints: int, bins: tuple[int, int] = (576, 768)) -> Work:
    rng = np.random.default_rng([people, joints])
    x, y = (rng.normal(0.2, 1, (people, joints, n)).astype(np.float32) for n in bins)
    decode, on_x, on_y = SimccDecoder(gpu, max(people, 1), joints, 2.0), gpu.upload(x), gpu.upload(y)

    def check() -> float:
        got = decode(on_x, on_y)
        return max(_apart(gpu.download(g), e, 0) for g, e in zip(got, decode_simcc(x, y, 2.0), strict=True))

    runs = [lambda: decode(on_x, on_y)]
    return Work(f"SimCC of {people} people, {joints} keypoints", runs, check, x.nbytes + y.nbytes)


def _heatmaps(gpu: Gpu, people: int, joints: int, *, udp: bool) -> Work:
    rng = np.random.default_rng([people, joints])
    centre = rng.uniform(3, 45, (people, joints, 1, 1, 2))
    y, x = np.ogrid[:64, :48]
    maps = 0.9 * np.exp(-((y - centre[..., 0]) ** 2 + (x - centre[..., 1]) ** 2) / 8)
    maps = (maps + rng.normal(0, 0.01, maps.shape)).astype(np.float32)
    decode, on_gpu = HeatmapDecoder(gpu, max(people, 1), joints, (192, 256), udp=udp), gpu.upload(maps)

    def check() -> float:
        got, expected = decode(on_gpu), decode_heatmaps(maps, (192, 256), udp=udp)
        scores = _apart(gpu.download(got[1]), expected[1], 0)
        return max(scores, _apart(gpu.download(got[0]), expected[0], 5e-3 if udp else 0))

    name = f"{'UDP ' if udp else ''}heatmaps of {people} people, {joints} keypoints"
    return Work(name, [lambda: decode(on_gpu)], check, maps.nbytes)


def _oks(gpu: Gpu, people: int, joints: int) -> Work:
    rng = np.random.default_rng([people, joints])
    keypoints = rng.uniform(0, 300, (people, joints, 2))
    keypoints[::3] = keypoints[rng.integers(max(people, 1), size=len(keypoints[::3]))]
    keypoints += rng.normal(0, 2, keypoints.shape)
    arrays = keypoints, rng.uniform(0, 1, (people, joints)), rng.uniform(size=people), np.full(people, 4e4)
    host = [a.astype(np.float32) for a in arrays]
    sigmas = np.linspace(0.02, 0.1, joints).tolist()
    suppress, given = GpuOksNms(gpu, max(people, 1), sigmas, 0.5), [gpu.upload(a) for a in host]

    def check() -> float:
        kept, expected = (
            gpu.download(suppress(*given)),
            oks_nms(host[0], host[1], host[2], host[3], sigmas, 0.5),
        )
        assert kept[-1] == len(expected)
        return _apart(kept[: len(expected)], expected, 0)

    return Work(f"OKS suppression of {people} people, {joints} keypoints", [lambda: suppress(*given)], check)


def _nms(gpu: Gpu, case: Case, given: Proposals, aim: float | None = None) -> Work:
    count, classes = given.pose2d.shape[:2]
    run = GpuPoseNms(gpu, case.part, case.K, proposals=max(count, 1), classes=classes, score_th=0.1)
    scores, _, pose2d, pose3d = (gpu.upload(a) for a in vars(given).values())

    def check() -> float:
        chosen = select_best_class(given.scores, given.boxes, given.pose2d, given.pose3d, 0.1)
        expected = pose_nms(chosen.scaled(*SCALE), case.part, case.K)
        return _same_people(run(scores, pose2d, pose3d, SCALE).read(), expected, 0)

    name = f"pose-NMS of {count} x {classes} ({case.part})"
    return Work(name, [lambda: run(scores, pose2d, pose3d, SCALE)], check, 0, aim)


def _ppi(
    gpu: Gpu,
    case: Case,
    given: Proposals,
    options: PpiOptions,
    *,
    room: int = 2**21,
    aim: float | None = None,
) -> Work:
    count, classes = given.pose2d.shape[:2]
    run = GpuPpi(gpu, case.part, options, proposals=max(count, 1), classes=classes, room=room)
    scores, boxes, pose2d, pose3d = (gpu.upload(a) for a in vars(given).values())
    resolution = 1000, 1800
    candidates = given.select(options.score_th).scaled(*SCALE)

    def check() -> float:
        expected = integrate(candidates, case.part, options, resolution)
        return _same_people(run(scores, boxes, pose2d, pose3d, SCALE, resolution).read(), expected, 1e-4)

    name = f"PPI of {count} proposals, {len(candidates)} candidates ({case.part}, {options.iou_func})"
    runs = [lambda: run(scores, boxes, pose2d, pose3d, SCALE, resolution)]
    return Work(name, runs, check, 0, aim)


# --- comparisons --------------------------------------------------------------------------------------------


def _first(proposals: Proposals, count: int) -> Proposals:
    return Proposals(*(a[:count] for a in vars(proposals).values()))


def _apart(got: NDArray[Any], expected: NDArray[Any], limit: float) -> float:
    """The largest difference; AssertionError where it exceeds `limit`."""
    np.testing.assert_allclose(got, expected, rtol=0, atol=limit)
    both = np.abs(got.astype(np.float64) - expected)
    return float(np.nanmax(both, initial=0))


def _same_people(got: Detections, expected: Detections, relative: float) -> float:
    """The largest difference of their joints in pixels, where both name the same people."""
    np.testing.assert_array_equal(got.label, expected.label)
    np.testing.assert_allclose(got.score, expected.score, rtol=relative)
    np.testing.assert_allclose(got.pose3d, expected.pose3d, rtol=relative, atol=relative)
    limit = relative * np.abs(expected.pose2d).max(initial=0)
    return max(_apart(got.pose2d, expected.pose2d, limit), _apart(got.box, expected.box, limit))
