"""Is a datalist fit to train on? Its fingerprint, and what is wrong with it: `run.check`."""
