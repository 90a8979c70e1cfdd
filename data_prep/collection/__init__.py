"""What the ways into a datalist share: a study at a time to volumes, faults, cover, folds, and the files of OUT."""
