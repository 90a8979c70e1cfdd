"""Measures of the spine in mm and degrees: canal, discs and lordosis, from the regions of a sagittal volume."""
