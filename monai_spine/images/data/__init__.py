"""Images as a classifier takes them: datalist, pixels, batches."""
