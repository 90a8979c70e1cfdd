"""Ensembles: one prediction from the submissions of several models."""
