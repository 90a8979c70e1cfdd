"""A table of a user's own studies → volumes and a datalist: `datalist.build`."""
