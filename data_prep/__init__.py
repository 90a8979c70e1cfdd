"""Converts what hospitals and competitions hand over to NIfTI volumes and ``datalist.json``.

The only place that reads images from DICOM. Used as ``python -m data_prep <command>``.
"""
