"""Shared by `rsna2024` and `study_table`: volumes and faults study by study, coverage, folds, and the output folder."""
