"""From image files and their datalist to batches of pixels."""
