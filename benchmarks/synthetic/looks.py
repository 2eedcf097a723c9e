"""What people look like: faces, expressions and clothes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wholebody.benchmarks.synthetic.shapes import Floats

Color = tuple[float, float, float]
_SKIN = np.array(
    [(190, 210, 240), (160, 190, 230), (125, 160, 205), (90, 125, 175), (60, 88, 135), (38, 55, 90)], float
)
_HAIR = np.array(
    [(25, 25, 30), (30, 40, 60), (45, 70, 110), (90, 150, 200), (150, 150, 155), (40, 60, 140)], float
)


@dataclass(frozen=True)
class FaceLook:
    """Shape, expression and colours of one head; expressions run from 0 to 1 (smile and brow from -1)."""

    width: float
    mouth_open: float
    smile: float
    blink: float
    brow: float
    gaze: tuple[float, float]
    eye_size: float
    mouth_width: float
    nose: float
    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    iris: tuple[float, float, float]
    lips: tuple[float, float, float]
    hairline: float
    hair_length: float
    beard: bool
    glasses: bool


@dataclass(frozen=True)
class Clothes:
    """Lengths run from 0 (none) to 1 (down to wrist or ankle); a pattern mixes in its second colour."""

    sleeve: float
    trouser: float
    skirt: float
    shirt: Color
    shirt_second: Color
    pattern: str
    stripes: float
    bottom: Color
    shoes: Color


def sample_look(rng: np.random.Generator) -> FaceLook:
    tone = rng.uniform(0, len(_SKIN) - 1)
    skin = np.array([np.interp(tone, np.arange(len(_SKIN)), _SKIN[:, k]) for k in range(3)]) * rng.uniform(
        0.92, 1.06
    )
    hair = _HAIR[rng.integers(len(_HAIR))] * rng.uniform(0.7, 1.3)
    lips = skin * [0.72, 0.66, 0.9] + [8, 0, 12]
    return FaceLook(
        width=float(np.clip(rng.normal(1, 0.05), 0.88, 1.12)),
        mouth_open=float(rng.uniform(0.1, 1) if rng.random() < 0.4 else 0.0),
        smile=float(rng.uniform(-0.4, 1)),
        blink=float(rng.choice([0.0, rng.uniform(0, 0.5), 1.0], p=[0.6, 0.3, 0.1])),
        brow=float(np.clip(rng.normal(0, 0.5), -1, 1)),
        gaze=(float(rng.uniform(-1, 1)), float(rng.uniform(-1, 1))), eye_size=float(rng.uniform(0.8, 1.35)),
        mouth_width=float(rng.uniform(0.85, 1.15)), nose=float(rng.uniform(0.75, 1.3)),
        skin=_color(np.clip(skin, 15, 250)), hair=_color(np.clip(hair, 8, 235)),
        iris=((60, 40, 25), (120, 90, 50), (70, 110, 60), (25, 35, 60))[rng.integers(4)], lips=_color(lips),
        hairline=float(rng.uniform(-0.36, -0.22) if rng.random() < 0.9 else -0.6),
        hair_length=float(rng.uniform(0.2, 0.75) if rng.random() < 0.4 else 0.0),
        beard=bool(rng.random() < 0.12), glasses=bool(rng.random() < 0.15),
    )  # fmt: skip


def _color(values: Floats) -> Color:
    return float(values[0]), float(values[1]), float(values[2])


def sample_clothes(rng: np.random.Generator) -> Clothes:
    shirt, second, bottom, shoes = rng.uniform(15, 245, (4, 3)) * rng.uniform(0.4, 1.0, (4, 1))
    if rng.random() < 0.4:
        bottom = np.array([90.0, 60, 40]) * rng.uniform(0.5, 1.5)
    skirt = rng.uniform(0.35, 1.1) if rng.random() < 0.15 else 0.0
    return Clothes(
        sleeve=float(rng.choice([rng.uniform(0.2, 0.45), 1.0, 0.0], p=[0.45, 0.45, 0.1])),
        trouser=float(1.0 if rng.random() < 0.7 else rng.uniform(0.3, 0.55)) if not skirt else 0.0,
        skirt=float(skirt),
        shirt=_color(shirt), shirt_second=_color(second),
        pattern=str(rng.choice(["plain", "stripes", "checks", "columns"], p=[0.5, 0.2, 0.15, 0.15])),
        stripes=float(rng.uniform(12, 30)), bottom=_color(np.clip(bottom, 10, 240)), shoes=_color(shoes),
    )  # fmt: skip
