"""From a distilled whole-body pose student's checkpoint to a verified engine, and to people in a picture."""

from __future__ import annotations

__version__ = "0.1.0"
