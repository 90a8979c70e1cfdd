"""The image classifier and what trains it."""
