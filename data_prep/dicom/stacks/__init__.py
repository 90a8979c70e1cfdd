"""Frames of a series → stacks (`series`, `splitting`, `repeated_positions`), each even and placed in space."""
