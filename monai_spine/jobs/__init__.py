"""Training as a job on rented machines: its specification for each platform, its entry point, and a rehearsal."""
