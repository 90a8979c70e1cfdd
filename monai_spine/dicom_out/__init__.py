"""DICOM objects of a graded study for archives: structured report, key images, and the report as PDF.

They are the only outputs that hold the patient's identity, taken over from the source images.
"""
