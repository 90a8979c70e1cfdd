"""Label audit: labels that a model which never saw them finds hard to believe, for people to read again."""
