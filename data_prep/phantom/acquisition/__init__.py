"""From tissues to the grey values that a scanner would show."""
