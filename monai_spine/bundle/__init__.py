"""MONAI bundles: run them, read their metadata, explain their errors."""
