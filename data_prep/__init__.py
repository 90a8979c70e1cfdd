"""Converts what hospitals and competitions hand over to NIfTI volumes and ``datalist.json``.

The only place that reads or writes DICOM. Used as ``python -m data_prep <command>``.
"""
