"""Reports that people read: a page of each study, as HTML and PDF, and an index of all studies."""
