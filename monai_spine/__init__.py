"""Graded degenerative findings from lumbar-spine MRI studies, on MONAI.

Research software: not a medical device.
"""

__version__ = "0.1.0"
