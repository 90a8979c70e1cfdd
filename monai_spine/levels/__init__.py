"""Finding the levels: maps of a network → peaks → a chain of discs → named points in patient space → files."""
