"""``constraints.txt`` pins every dependency to a version that setup.cfg allows."""

from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.constraints import EXTRAS, requirements

PINS = Path(__file__).parents[1] / "constraints.txt"


@pytest.mark.parametrize("requirement", requirements(EXTRAS), ids=str)
def test_every_dependency_is_pinned_to_a_version_that_is_allowed(requirement: Requirement) -> None:
    pins = {line.split("==")[0]: line.split("==")[1] for line in PINS.read_text().splitlines() if "==" in line}
    name = canonicalize_name(requirement.name)
    assert name in pins, "run `python benchmarks/constraints.py`"
    assert requirement.specifier.contains(pins[name], prereleases=True)


@pytest.mark.parametrize("extra", ["test", "docs", "jobs", "cluster", "onnx", "tracking", "tune", "pacs", "openvino"])
def test_no_extra_repeats_what_the_core_needs(extra: str) -> None:
    core = requirements(())
    added = requirements((extra,))[len(core) :]
    assert added
    assert {canonicalize_name(one.name) for one in core}.isdisjoint(canonicalize_name(one.name) for one in added)
