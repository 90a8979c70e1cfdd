"""Lumbar spines drawn far beyond the realistic, to train a network that is to work on scanners it has never seen."""

from data_prep.phantom.randomised.dataset import RandomisedSpines
from data_prep.phantom.randomised.recesses import RandomisedRecesses

__all__ = ["RandomisedRecesses", "RandomisedSpines"]
