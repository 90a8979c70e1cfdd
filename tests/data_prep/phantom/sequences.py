"""Typical sequences."""

from data_prep.phantom.signal import Sequence

T1 = Sequence(600.0, 10.0)
T2 = Sequence(4000.0, 100.0)
