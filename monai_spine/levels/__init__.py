"""The level localizers: maps of networks, peaks, a chain of discs, named points in patient space, files."""
