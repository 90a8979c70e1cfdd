"""What a study is: its volumes, labels and points, from ``datalist.json`` or a folder of NIfTI files."""
