"""The folders of the bundles that come with the package."""

from __future__ import annotations

from pathlib import Path

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
LEVEL_LOCALIZER = BUNDLES / "lumbar_level_localizer"
RECESS_LOCALIZER = BUNDLES / "lumbar_recess_localizer"
GRADER = BUNDLES / "lumbar_25d_grader"
