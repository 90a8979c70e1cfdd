"""The recess localizer: the lateral recesses of a level in axial slices."""
