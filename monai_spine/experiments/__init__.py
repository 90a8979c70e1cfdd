"""Many trainings of one bundle: cross-validation, search, comparison; and the demo."""
