"""The competition's score and the other figures of graded findings, on arrays and CSV tables."""
