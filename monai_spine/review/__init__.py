"""The page on which people correct graded studies: a web server for this machine alone, and what it serves."""
