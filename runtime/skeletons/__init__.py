"""Skeleton tables: joint names, parts, limbs, flip pairs, colours and OKS sigmas."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from wholebody.runtime.skeletons.coco import COCO17, COCO_HAND21, WHOLEBODY133
from wholebody.runtime.skeletons.dope import DOPE, DOPE_BODY, DOPE_FACE, DOPE_HAND
from wholebody.runtime.skeletons.mapping import DOPE_TO_WHOLEBODY
from wholebody.runtime.skeletons.skeleton import Skeleton

__all__ = [
    "COCO17",
    "COCO_HAND21",
    "DOPE",
    "DOPE_BODY",
    "DOPE_FACE",
    "DOPE_HAND",
    "DOPE_TO_WHOLEBODY",
    "SKELETONS",
    "WHOLEBODY133",
    "Skeleton",
]

SKELETONS: Mapping[str, Skeleton] = MappingProxyType(
    {s.name: s for s in (DOPE_BODY, DOPE_HAND, DOPE_FACE, DOPE, COCO17, COCO_HAND21, WHOLEBODY133)}
)
