"""The students that come with wholebody, and the published ones that `fetch` knows where to find.

OpenMMLab names a checkpoint after the first eight digits of its SHA-256. That holds for the files published
in 2023 with DWPose and later, but not for the RTMPose ones that were uploaded anew in April 2023: the digits
in their names belong to an older file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from wholebody.runtime.errors import CheckpointError

__all__ = ["BUNDLED", "PUBLISHED", "Published", "bundled", "bundled_source", "published"]

BUNDLED = ("dope-mini", "dwpose-mini")

OPENMMLAB = "https://download.openmmlab.com/mmpose/v1/projects/rtmposev1"
HUGGING_FACE = "https://huggingface.co/yzd-v/DWPose/resolve/main"
NAVER = "http://download.europe.naverlabs.com/ComputerVision/DOPE_models"  # as published: no https

APACHE = "Apache-2.0"
NON_COMMERCIAL = "CC BY-NC-SA 4.0: no commercial use"
WHOLEBODY_WEIGHTS = "Apache-2.0 as published; trained on COCO-WholeBody, whose annotations are non-commercial"
DWPOSE_WEIGHTS = f"{WHOLEBODY_WEIGHTS}, and UBody"


@dataclass(frozen=True)
class Published:
    """A file of weights that somebody else published.

    sha256           the file's SHA-256, or the first digits of it where no more is known; "" for nothing
    size             bytes, where known
    code_licence     of the code that made it
    weights_licence  of the file itself, and what is known of its training data
    """

    name: str
    about: str
    url: str
    code_licence: str
    weights_licence: str
    sha256: str = ""
    size: int | None = None

    @property
    def filename(self) -> str:
        """The name it is published under, which it keeps."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def check(self) -> str:
        """What a download can be compared with."""
        if not self.sha256:
            return "nothing: no SHA-256 is published"
        if len(self.sha256) < 64:
            return f"the first {len(self.sha256)} digits of its SHA-256, all that is published: {self.sha256}"
        return f"SHA-256 {self.sha256}"


def _dwpose(size: str, input_hw: str, sha256: str) -> Published:
    resolution = input_hw.replace("x", " x ")
    stem = f"rtmpose-{size}_simcc-ucoco_dw-ucoco_270e-{input_hw}-{sha256[:8]}_20230728"
    name = f"dwpose-{size}" + ("-384" if input_hw == "384x288" else "")
    about = f"DWPose-{size}, 133 keypoints, {resolution}, checkpoint"
    return Published(name, about, f"{OPENMMLAB}/{stem}.pth", APACHE, DWPOSE_WEIGHTS, sha256)


def _rtmpose(name: str, stem: str, sha256: str = "", size: int | None = None) -> Published:
    title = name.replace("rtmpose", "RTMPose")
    resolution = "384 x 288" if name.endswith("384") else "256 x 192"
    about = f"{title.removesuffix('-384')}, 133 keypoints, {resolution}, checkpoint"
    url = f"{OPENMMLAB}/rtmpose-{stem}.pth"
    return Published(name, about, url, APACHE, WHOLEBODY_WEIGHTS, sha256, size)


def _dope(name: str, stem: str, about: str) -> Published:
    return Published(name, about, f"{NAVER}/{stem}_v1_0_0.pth.tgz", NON_COMMERCIAL, NON_COMMERCIAL)


PUBLISHED: Mapping[str, Published] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            _dwpose("t", "256x192", "dcf277bf"),
            _dwpose("s", "256x192", "3fd922c8"),
            _dwpose("m", "256x192", "c8b7641988ce785c987b8ad156e411f328b54766d353df19aea5b08433ef1aaf"),
            _dwpose("l", "256x192", "4d6dfc62"),
            _dwpose("l", "384x288", "2438fd99"),
            Published(
                "dwpose-l-384-onnx",
                "DWPose-l, 133 keypoints, 384 x 288, ONNX",
                f"{HUGGING_FACE}/dw-ll_ucoco_384.onnx",
                APACHE,
                DWPOSE_WEIGHTS,
                "724f4ff2439ed61afb86fb8a1951ec39c6220682803b4a8bd4f598cd913b1843",
                134_399_116,
            ),
            _rtmpose(
                "rtmpose-m",
                "m_simcc-coco-wholebody_pt-aic-coco_270e-256x192-cd5e845c_20230123",
                "3da02694cd6479d3b333ff42ebd0723f96bfa06adac1db1e2e815ed2e9e1b02d",
                72_010_049,
            ),
            _rtmpose("rtmpose-l", "l_simcc-coco-wholebody_pt-aic-coco_270e-256x192-6f206314_20230124"),
            _rtmpose("rtmpose-l-384", "l_simcc-coco-wholebody_pt-aic-coco_270e-384x288-eaeb96c8_20230125"),
            _rtmpose(
                "rtmpose-x-384",
                "x_simcc-coco-wholebody_pt-body7_270e-384x288-401dfc90_20230629",
                "401dfc90",
            ),
            Published(
                "yolox-l-onnx",
                "YOLOX-l, detector of people and 79 other classes, 640 x 640, ONNX",
                f"{HUGGING_FACE}/yolox_l.onnx",
                APACHE,
                "Apache-2.0 as published; trained on COCO",
                "7860ae79de6c89a3c1eb72ae9a2756c0ccfbe04b7791bb5880afabd97855a411",
                216_746_733,
            ),
            _dope("dope", "DOPE", "DOPE, bodies, hands and faces in 2D and 3D, checkpoint"),
            _dope("dope-realtime", "DOPErealtime", "DOPE, the fast one, checkpoint"),
        )
    }
)


def published(name: str) -> Published:
    """The published file of this name. Raises CheckpointError where there is none."""
    if name in BUNDLED:
        raise CheckpointError(
            f"{name} comes with wholebody, there is nothing to fetch: wholebody export {name} -o {name}.onnx"
        )
    if name not in PUBLISHED:
        raise CheckpointError(f"no published student {name!r}; there are: {', '.join(PUBLISHED)}")
    return PUBLISHED[name]


def bundled(name: str) -> Path:
    """The weights of a bundled student. Raises CheckpointError where there is none of that name."""
    if name not in BUNDLED:
        raise CheckpointError(f"no bundled student {name!r}; there are: {', '.join(BUNDLED)}")
    path = _weights(name)
    if not path.is_file():
        raise CheckpointError(f"{path}: the weights of {name} are missing; install wholebody again")
    return path


def bundled_source(sha256: str) -> Path | None:
    """The bundled weights with this SHA-256, or None."""
    paths = [path for path in map(_weights, BUNDLED) if path.is_file()]
    return next((path for path in paths if hashlib.sha256(path.read_bytes()).hexdigest() == sha256), None)


def _weights(name: str) -> Path:
    return Path(str(resources.files("wholebody.export"))) / "weights" / f"{name}.safetensors"
