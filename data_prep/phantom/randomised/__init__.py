"""Lumbar spines drawn far beyond the realistic, to train networks that must work on scanners they have never seen.

Domain randomisation (Billot et al. 2023, doi:10.1016/j.media.2023.102789): all that differs between scanners and
patients is drawn more widely than it occurs.
"""

from data_prep.phantom.randomised.recesses import RandomisedRecesses
from data_prep.phantom.randomised.spines import RandomisedSpines

__all__ = ["RandomisedRecesses", "RandomisedSpines"]
