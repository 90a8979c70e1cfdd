"""What a trained classifier predicts, how good it is, and which parts of an image it uses."""
