"""Tiny networks in one thread, as for the graders."""

from tests.monai_spine.grading.conftest import one_thread

__all__ = ["one_thread"]
