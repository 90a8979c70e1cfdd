"""Calibration: probabilities that say how often a finding turns out so, at natural prevalence."""
