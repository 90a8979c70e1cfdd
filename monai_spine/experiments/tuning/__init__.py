"""A search over a bundle's settings, trial by trial, on Optuna."""
