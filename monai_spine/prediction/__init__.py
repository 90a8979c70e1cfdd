"""``monai-spine predict``: studies in, graded findings out, one study after the other."""
