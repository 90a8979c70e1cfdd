"""From a sagittal volume to named points: maps of a network, peaks, a chain of discs, levels."""
