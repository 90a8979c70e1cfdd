"""The measures of a study, from the entry ``measures`` of ``findings.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from monai_spine.measures.study import LORDOSIS, NAMES
from monai_spine.spine import Level


@dataclass(frozen=True)
class Measure:
    """A value in the unit that the end of its name says: mm, mm², degrees, or a share.

    Attributes
    ----------
    uncertainty
        The error that nine in ten values stay below; None if it is not known.
    percentile
        Among the values of the cohort; None if it has none.
    """

    name: str
    value: float
    uncertainty: float | None = None
    percentile: float | None = None

    @classmethod
    def of(cls, name: str, entry: Mapping[str, Any]) -> Measure:
        """From an entry. Raises `KeyError`, `TypeError` or `ValueError` if it breaks the format."""
        optional = [None if entry.get(key) is None else float(entry[key]) for key in ("uncertainty", "percentile")]
        return cls(name, float(entry["value"]), *optional)


@dataclass(frozen=True)
class StudyMeasures:
    """All measures of a study.

    Attributes
    ----------
    levels, whole
        By their names: of each level that was measured, and of the whole spine.
    volume, reference
        Where they were taken, and the cohort of the percentiles.
    reason
        Why there are none.
    """

    levels: Mapping[Level, Mapping[str, Measure]] = field(default_factory=dict)
    whole: Mapping[str, Measure] = field(default_factory=dict)
    volume: str = ""
    reference: str = ""
    reason: str = ""


def read_measures(content: Mapping[str, Any]) -> StudyMeasures | None:
    """The measures of an entry; None without an entry.

    Raises
    ------
    KeyError, TypeError, ValueError, AttributeError
        If it breaks the format.
    """
    if not content:
        return None
    if "levels" not in content:
        return StudyMeasures(reason=str(content.get("reason", "")))
    own = content["levels"]
    levels = {level: _measures(own[level.value], NAMES) for level in Level if level.value in own}
    whole = _measures(content["whole"], (LORDOSIS,))
    return StudyMeasures(levels, whole, str(content["volume"]), str(content["reference"]))


def _measures(entries: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Measure]:
    return {name: Measure.of(name, entries[name]) for name in names if entries.get(name) is not None}
