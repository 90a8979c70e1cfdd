"""MONAI bundles: how they run, their settings, their metadata, and messages for their errors."""
