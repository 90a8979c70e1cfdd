"""The level localizer: from a sagittal volume to maps, peaks, a chain of discs and named points."""
