"""Pose-proposal integration on the GPU: `select_candidates` and `integrate`, from network to people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wholebody.runtime.gpu import DeviceArray, Gpu, Kernel, blocks
from wholebody.runtime.kernels.detections_gpu import DetectionRows
from wholebody.runtime.kernels.ppi import BODY_JOINT_SETS
from wholebody.runtime.kernels.proposals import JOINTS, Part

if TYPE_CHECKING:
    from wholebody.runtime.kernels.ppi import PpiOptions

__all__ = ["GpuPpi"]

MOST = 2**18  # candidates
ROOM = 2**21  # words of 64 marks: 16 MiB

# --- the launches, with their arguments by name -------------------------------------------------------------

NUMBERS = {
    **dict.fromkeys(("proposals", "classes", "joints", "full_bodies", "room"), "i"),
    **dict.fromkeys(("by_pose", "merge", "by_joints", "joint_set", "swap"), "i"),
    **dict.fromkeys(("score_th", "th_iou", "th_pose3D", "min_mode_score"), "f"),
    **dict.fromkeys(("scale_x", "scale_y", "last_x", "last_y"), "f"),
    "th_persondetect": "d",
}  # all other arguments are arrays
OVERLAP = (
    "item_box order item_first pose pose2d by_joints joints joint_set swap th_iou scale_x scale_y mask room"
)
SORTED = "sorted_pose sorted_score sorted_group"

# By one block, a warp or thread for each candidate, tiles of pairs of them, a block for each group or person.
GROUPS = {
    "ppi_select": ("block", "scores pose score counts proposals classes score_th"),
    "ppi_boxes": (
        "warp",
        "boxes pose2d pose counts box classes joints by_pose scale_x scale_y last_x last_y",
    ),
    "ppi_items": ("block", "box score item item_first item_score counts merge"),
    "ppi_rank_items": ("warp", "item_score item_first box order item_box counts"),
    "ppi_near_items": ("tile", f"{OVERLAP} counts"),
    "ppi_resolve_items": ("block", f"{OVERLAP} leaders counts"),
    "ppi_assign": ("warp", f"{OVERLAP} leaders group_of_item group_size counts"),
    "ppi_group_starts": ("block", "group_size group_first cursor counts"),
    "ppi_scatter": ("thread", "item group_of_item cursor bucket bucket_group counts"),
    "ppi_sort": (
        "warp",
        f"bucket bucket_group group_first pose score {SORTED} starter_count counts min_mode_score",
    ),
}
MODES = {
    "ppi_starter_starts": ("block", "starter_count starter_first counts"),
    "ppi_starters": ("thread", "starter_count starter_first group_first sorted_group starter counts"),
    "ppi_near_starters": (
        "tile",
        "pose3d sorted_pose sorted_group starter starter_first mask room counts joints th_pose3D",
    ),
    "ppi_resolve_starters": (
        "group",
        "pose3d sorted_pose sorted_group starter starter_first mask room head_bits counts joints th_pose3D",
    ),
    "ppi_heads": ("block", "head_bits starter sorted_group group_first head head_first mode_score counts"),
    "ppi_mode_scores": ("tile", f"pose3d {SORTED} group_first head mode_score counts joints th_pose3D"),
    "ppi_people": (
        "block",
        "head head_first mode_score best group_score person rows counts th_persondetect",
    ),
    "ppi_means": (
        "person",
        "pose2d pose3d sorted_pose sorted_score group_first best group_score person member rows"
        " classes joints full_bodies th_pose3D scale_x scale_y",
    ),
}
JOINT_SETS = {
    name: joints for name, joints in BODY_JOINT_SETS.items() if name != "mje"
}  # which is all of any part
LAUNCHES = [
    (Kernel(file, name, "".join(NUMBERS.get(n, "P") for n in names.split())), by, names.split())
    for file, stages in (("ppi_groups.cu", GROUPS), ("ppi_modes.cu", MODES))
    for name, (by, names) in stages.items()
]
# What the launches hand on: an element for each candidate, or for each group, of which there are not more.
ARRAYS = {
    "pose item item_first order leaders group_of_item group_first cursor bucket bucket_group": np.int32,
    "sorted_pose sorted_group starter_first starter head head_first best person member": np.int32,
    "score item_score sorted_score": np.float32,
    "mode_score group_score": np.float64,
}


class GpuPpi:
    """`integrate` for one part of at most `proposals` of `classes` each, in memory that it keeps.

    room  how many words of 64 marks, of candidates that are near each other, are kept at most; where marks
          have no room, distances are found when they are needed, which takes longer

    Raises ValueError for more than 262,144 (proposal, class) pairs.
    """

    def __init__(
        self,
        gpu: Gpu,
        part: Part,
        options: PpiOptions,
        *,
        proposals: int,
        classes: int,
        room: int = ROOM,
    ) -> None:
        most = max(1, proposals * classes)
        if most > MOST:
            raise ValueError(f"{proposals} proposals of {classes} classes are more than {MOST} candidates")
        self._gpu, self._options = gpu, options
        self._found = DetectionRows(gpu, part, options.K, most)
        words, ints = most // 64 + 1, most // 2 + 1  # 8 bytes each
        self._zeros = gpu.empty(words + 2 * ints, np.uint64)
        room = min(room, most * (-(-most // 64) + 1))
        self._values: dict[str, Any] = {
            **{name: gpu.empty(most + 1, kind) for names, kind in ARRAYS.items() for name in names.split()},
            **{name: gpu.empty((most, 4), np.float32) for name in ("box", "item_box")},
            **_numbers(part, options, classes),
            "counts": gpu.empty(8, np.int32),
            "head_bits": self._zeros[:words],
            "group_size": self._zeros[words : words + ints],
            "starter_count": self._zeros[words + ints :],
            "mask": gpu.empty(room, np.uint64),
            "room": room,
            "rows": self._found.rows,
        }
        self._shapes = {
            "block": ((1,), (1024,)),
            "warp": ((blocks(most * 32, 128, 2048),), (128,)),
            "thread": ((blocks(most, 128),), (128,)),
            "tile": ((8, blocks(most, 32, 256)), (256,)),
            "group": ((blocks(most, 1, 264),), (1024,)),
            "person": ((blocks(most, 1, 512),), (256,)),
        }

    def __call__(
        self,
        scores: DeviceArray,
        boxes: DeviceArray,
        pose2d: DeviceArray,
        pose3d: DeviceArray,
        scale: tuple[float, float],
        resolution: tuple[int, int] | None = None,
    ) -> DetectionRows:
        """The detections of a network's answer, best first; good until the next call.

        scores (N, classes + 1) with background first, boxes (N, 4), pose2d (N, classes, J, 2), pose3d
        (N, classes, J, 3), float32; pixels are multiplied by `scale` (x, y). `resolution` is the picture's
        (height, width) after that, for group_by="pose".
        """
        height, width = resolution or (0, 0)
        values = {
            **self._values,
            "scores": scores,
            "boxes": boxes,
            "pose2d": pose2d,
            "pose3d": pose3d,
            "proposals": len(scores),
            "scale_x": scale[0],
            "scale_y": scale[1],
            "last_x": width - 1,
            "last_y": height - 1,
        }
        self._gpu.fill(self._zeros)
        for kernel, by, names in LAUNCHES:
            self._gpu.launch(kernel, *self._shapes[by], *(values[name] for name in names))
        return self._found


def _numbers(part: Part, options: PpiOptions, classes: int) -> dict[str, float]:
    """The options as the kernels take them."""
    overlap = options.iou_func.removesuffix("LR")
    return {
        "classes": classes,
        "joints": JOINTS[part],
        "full_bodies": options.K if part == "body" else classes,
        "score_th": 0.1 / classes if options.score_th is None else options.score_th,
        "by_pose": int(overlap == "bbox" and options.group_by == "pose"),
        "merge": int(overlap == "bbox"),
        "by_joints": int(overlap != "bbox"),
        "joint_set": sum(1 << joint for joint in JOINT_SETS.get(overlap, ())),
        "swap": int(overlap != options.iou_func),
        "th_iou": options.th_iou,
        "th_pose3D": options.th_pose3D,
        "min_mode_score": options.min_mode_score,
        "th_persondetect": options.th_persondetect,
    }
