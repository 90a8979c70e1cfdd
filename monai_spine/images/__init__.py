"""Single images: their datalist, pixels, and what learns to classify them."""
