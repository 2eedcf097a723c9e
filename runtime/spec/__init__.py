"""What a network is, by family: its input, what its answers mean, its weights and its precision.

"dope"      StudentSpec    one network finds everyone, with body, hands and face
"top-down"  TopDownSpec    the keypoints of one person in a crop
"detector"  DetectorSpec   boxes around people
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from wholebody.runtime.spec.detector import DetectorInput, DetectorSpec, Layout
from wholebody.runtime.spec.dope import JOINTS, InputSpec, PartSpec, StudentSpec
from wholebody.runtime.spec.fields import FORMAT, Color, Shape, Three, WeightsSpec, check, entry
from wholebody.runtime.spec.top_down import CropInput, DepthSpec, Head, TopDownSpec

__all__ = [
    "FAMILIES",
    "FORMAT",
    "JOINTS",
    "AnySpec",
    "Color",
    "CropInput",
    "DepthSpec",
    "DetectorInput",
    "DetectorSpec",
    "Head",
    "InputSpec",
    "Layout",
    "PartSpec",
    "Shape",
    "StudentSpec",
    "Three",
    "TopDownSpec",
    "WeightsSpec",
    "spec_from_dict",
    "verified",
]

AnySpec = StudentSpec | TopDownSpec | DetectorSpec

FAMILIES: Mapping[str, type[StudentSpec] | type[TopDownSpec] | type[DetectorSpec]] = MappingProxyType(
    {"dope": StudentSpec, "top-down": TopDownSpec, "detector": DetectorSpec}
)


def spec_from_dict(data: Any) -> AnySpec:
    """The description in this JSON object, by its family; entries this version does not know are ignored.

    Raises ArtefactError naming the first entry that is missing or wrong.
    """
    family = entry(data, "family", str)
    check(family in FAMILIES, "family", family, ", ".join(FAMILIES))
    return FAMILIES[family].from_dict(data)


def verified(spec: AnySpec) -> bool:
    """Whether it was measured against PyTorch or its FP32 self and kept to its budget.

    A published file never was.
    """
    return spec.certificate is not None and bool(spec.certificate.get("pass"))
