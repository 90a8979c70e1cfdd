"""The grades of one study: a grader of a bundle, what it sees, and how its probabilities become findings."""
