"""A cohort of lumbar studies made from a parametric anatomy, in the competition's layout, with known truth."""
