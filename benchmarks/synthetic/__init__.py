"""Rendered scenes of people with exact 2D and 3D truth, for training, calibration and measurement.

No photograph and no foreign model is involved, so the pictures carry no licence to mind. Seeds below
10 000 000 are for training, 20 000 000 + i for calibration, 30 000 000 + i for held-out evaluation.
"""

from __future__ import annotations

from wholebody.benchmarks.synthetic.calibration import write_calibration_set
from wholebody.benchmarks.synthetic.scene import Scene, SyntheticPerson, render_scene

__all__ = ["Scene", "SyntheticPerson", "render_scene", "write_calibration_set"]
