"""The lateral recesses of a level, found in axial slices."""
