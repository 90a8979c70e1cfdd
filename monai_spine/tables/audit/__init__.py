"""Label audit: labels that contradict the predictions of a model that was not trained on them, to be read again."""
