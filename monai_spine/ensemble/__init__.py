"""Ensembles: one answer from the submissions of several models."""

from monai_spine.ensemble.model import Ensemble

__all__ = ["Ensemble"]
