"""Commands on CSV tables of labels and predictions, whichever model made them."""
