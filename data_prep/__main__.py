"""``python -m data_prep``."""

from data_prep.cli import main

main()
