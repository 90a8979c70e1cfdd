"""The command line of ``monai-spine``: a module for each family of commands."""
