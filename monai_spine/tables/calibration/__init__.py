"""Calibration: probabilities that say how often a finding really has a grade, at natural prevalence."""
