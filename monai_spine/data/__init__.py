"""Studies: their volumes, labels and points, from ``datalist.json`` or from folders of NIfTI files."""
