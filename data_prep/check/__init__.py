"""The check of a datalist before training: its faults and its fingerprint (`run.check`)."""
