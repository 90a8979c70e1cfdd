"""The frames of a series, split into stacks (`series`, `splitting`, `volumes`) that are even and placed in space."""
