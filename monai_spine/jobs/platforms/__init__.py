"""The platforms that run jobs: what each is asked for, how it checks that, and what it tells a job's machines."""
