"""Figures that others have published, each with its source. Nothing here was measured by this project.

Their hardware, software, input and scope differ from table to table and from what `wholebody bench`
measures, so they are shown apart and compared with nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["PUBLISHED", "PublishedTable"]


@dataclass(frozen=True)
class PublishedTable:
    """A table as its source has it; "–" where the source says nothing."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    source: str
    url: str
    notes: str


DWPOSE_ACCURACY = PublishedTable(
    "DWPose on COCO-WholeBody v1.0 val: AP",
    ("student", "input", "GFLOPs", "body", "foot", "face", "hand", "whole"),
    (
        ("DWPose-t", "256 × 192", "0.5", "58.5", "46.5", "73.5", "35.7", "48.5"),
        ("DWPose-s", "256 × 192", "0.9", "63.3", "53.3", "77.6", "42.7", "53.8"),
        ("DWPose-m", "256 × 192", "2.2", "68.5", "63.6", "82.8", "52.7", "60.6"),
        ("DWPose-l", "256 × 192", "4.5", "70.4", "66.2", "84.3", "56.6", "63.1"),
        ("DWPose-l", "384 × 288", "10.1", "72.2", "70.4", "88.7", "62.1", "66.5"),
    ),
    "IDEA-Research/DWPose, README.md",
    "https://github.com/IDEA-Research/DWPose",
    "Detector with human AP 56.4 on COCO val2017; flip test. GFLOPs are as published: they count "
    "multiply-adds.",
)
RTMPOSE_ACCURACY = PublishedTable(
    "RTMPose on COCO-WholeBody v1.0 val: AP",
    ("student", "input", "body", "foot", "face", "hand", "whole"),
    (
        ("RTMPose-m", "256 × 192", "67.3", "61.5", "81.3", "47.5", "58.2"),
        ("RTMPose-l", "256 × 192", "69.5", "65.8", "83.3", "51.9", "61.1"),
        ("RTMPose-l", "384 × 288", "71.2", "69.3", "88.2", "57.9", "64.8"),
        ("RTMPose-x", "384 × 288", "–", "–", "–", "–", "65.3"),
    ),
    "open-mmlab/mmpose, configs/wholebody_2d_keypoint/rtmpose",
    "https://github.com/open-mmlab/mmpose",
    "Detector with human AP 56.4 on COCO val2017; flip test. The paper's abstract names 67.0 for RTMPose-l.",
)
RTMPOSE_LATENCY = PublishedTable(
    "RTMPose: latency, ms, batch 1",
    (
        "student", "input", "ORT, i7-11700", "TensorRT FP16, GTX 1660 Ti", "TensorRT FP16, RTX 3090",
        "TensorRT FP16, AGX Orin", "TensorRT FP16, Orin NX", "ncnn FP16, Snapdragon 865",
    ),
    (
        ("RTMPose-t, 17 keypoints", "256 × 192", "3.20", "1.06", "0.98", "1.63", "1.97", "9.02"),
        ("RTMPose-s, 17 keypoints", "256 × 192", "4.48", "1.39", "1.12", "1.85", "2.18", "13.89"),
        ("RTMPose-m, 17 keypoints", "256 × 192", "11.06", "2.29", "1.18", "2.72", "3.35", "26.44"),
        ("RTMPose-l, 17 keypoints", "256 × 192", "18.85", "3.46", "1.37", "3.67", "4.78", "45.37"),
        ("RTMPose-m, 133 keypoints", "256 × 192", "13.50", "4.00", "1.17 or 1.84", "2.79", "3.51", "–"),
        ("RTMPose-l, 133 keypoints", "256 × 192", "23.41", "5.67", "1.44 or 2.61", "3.80", "4.95", "–"),
        ("RTMPose-l, 133 keypoints", "384 × 288", "44.58", "7.68", "1.75 or 4.24", "5.08", "7.20", "–"),
    ),
    "open-mmlab/mmpose, projects/rtmpose/benchmark/README.md",
    "https://github.com/open-mmlab/mmpose/tree/main/projects/rtmpose/benchmark",
    "Inference latencies by MMDeploy's profiler, ONNX Runtime 1.12.1, TensorRT 8.4.3.1. Two figures in a "
    "cell are of two contributors.",
)  # fmt: skip
SUCCESSORS_ACCURACY = PublishedTable(
    "RTMW and RTMW3D on COCO-WholeBody v1.0 val: whole AP",
    ("student", "input", "GFLOPs", "whole", "H3WB MPJPE, mm"),
    (
        ("RTMW-m", "256 × 192", "4.3", "58.2", "–"),
        ("RTMW-l", "256 × 192", "7.9", "66.0", "–"),
        ("RTMW-x", "256 × 192", "13.1", "67.2", "–"),
        ("RTMW-l", "384 × 288", "17.7", "70.1", "–"),
        ("RTMW-x", "384 × 288", "29.3", "70.2", "–"),
        ("RTMW3D-l", "384 × 288", "–", "67.8", "56"),
        ("RTMW3D-x", "384 × 288", "–", "68.0", "57"),
    ),
    "open-mmlab/mmpose, projects/rtmpose and projects/rtmpose3d",
    "https://github.com/open-mmlab/mmpose/tree/main/projects/rtmpose3d",
    "The paper's abstract credits 70.2 to RTMW-l. GFLOPs are as published: they count multiply-adds.",
)
RTMO = PublishedTable(
    "RTMO, one stage, 17 keypoints",
    ("student", "AP on COCO val2017, trained on Body7", "ONNX Runtime on V100, ms"),
    (("RTMO-s", "68.6", "8.9"), ("RTMO-m", "72.6", "12.4"), ("RTMO-l", "74.8", "19.1")),
    "open-mmlab/mmpose, projects/rtmo/README.md",
    "https://github.com/open-mmlab/mmpose/tree/main/projects/rtmo",
    "",
)
PUBLISHED = (DWPOSE_ACCURACY, RTMPOSE_ACCURACY, RTMPOSE_LATENCY, SUCCESSORS_ACCURACY, RTMO)
