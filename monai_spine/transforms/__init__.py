"""MONAI dictionary transforms for studies."""
