"""Crops of disc levels in millimetres, in an anatomical frame, from volumes in any orientation."""
