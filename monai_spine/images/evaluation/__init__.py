"""What a trained image classifier is worth, and where it looks."""
