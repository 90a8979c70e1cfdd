"""Ensembles: one answer from the submissions of several models."""
