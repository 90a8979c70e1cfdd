"""Calibration: probabilities that say how often a finding turns out so, at natural prevalence."""

from monai_spine.calibration.calibrator import Calibration

__all__ = ["Calibration"]
