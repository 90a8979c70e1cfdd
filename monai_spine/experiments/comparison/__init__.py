"""Comparison of backbones or presets of a bundle: trained on the same split with the same budget."""
