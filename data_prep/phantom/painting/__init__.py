"""From a person's anatomy to the tissue in every sample of an image's voxels."""
