"""The studies of a datalist as they are listed: entries that break the format become faults, not errors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from data_prep.check.codes import Code
from data_prep.faults import Fault, FaultCode
from monai_spine.data.datalist import entry_faults, has_series, read_content
from monai_spine.errors import InvalidTableError
from monai_spine.spine import FINDINGS, TARGETS, Finding, SeriesType

SECTIONS = ("training", "test")
Point = tuple[float, float, float]
_FINDING_OF = dict(zip(TARGETS, FINDINGS, strict=True))


@dataclass(frozen=True)
class Study:
    """An entry of a datalist."""

    number: int
    """Counts the entries of all sections; an id may be listed twice."""
    section: str
    study_id: str
    patient_id: str
    fold: int | None
    series: dict[SeriesType, tuple[str, ...]]
    """Paths of each series type, relative to the datalist."""
    label: npt.NDArray[np.int64] | None
    """``(25,)`` in the order of ``TARGETS``, or None where the entry has no labels."""
    points: dict[Finding, Point]
    """RAS mm by finding."""

    @property
    def paths(self) -> list[tuple[SeriesType, str]]:
        """All volumes with their series types, in the order of `SeriesType`."""
        return [(series_type, path) for series_type, paths in self.series.items() for path in paths]

    def fault(
        self,
        code: FaultCode,
        detail: str,
        *,
        series_type: SeriesType | None = None,
        path: str = "",
        findings: Iterable[Finding] = (),
        others: Iterable[Study] = (),
    ) -> Fault:
        """A fault of this study."""
        named = {finding.name for finding in findings}
        return Fault(
            code,
            detail,
            study=self.study_id,
            section=self.section,
            series=series_type.value if series_type else "",
            targets=tuple(target for target in TARGETS if target in named),
            path=path,
            number=self.number,
            others=tuple(other.number for other in others),
        )


def read_studies(path: Path) -> tuple[list[Study], list[Fault]]:
    """All studies of all sections, and a fault for every entry that breaks the format.

    Raises `MissingInputError` if there is no such file.
    Raises `InvalidTableError` if it is no datalist of studies, or an empty one.
    """
    content = read_content(path)
    studies: list[Study] = []
    faults: list[Fault] = []
    for section in SECTIONS:
        entries = content.get(section, [])
        if not isinstance(entries, list):
            raise InvalidTableError(f"{path}: expected {section!r} as a list, but found {type(entries).__name__}")
        for n, entry in enumerate(entries):
            number = len(studies) + len(faults)
            broken = entry_faults(entry, n)
            if not broken and not has_series(entry):
                broken = [f"expected at least one of {[series_type.value for series_type in SeriesType]}"]
            if broken:
                name = str(entry.get("study_id", "")) if isinstance(entry, dict) else ""
                faults.append(Fault(Code.BROKEN_ENTRY, "; ".join(broken), study=name, section=section, number=number))
            else:
                studies.append(_study(entry, number, section))
    if not studies and not faults:
        raise InvalidTableError(f"{path}: expected studies under {' or '.join(map(repr, SECTIONS))}, but found none")
    return studies, faults


def leaves_folder(path: str) -> bool:
    """Whether a datalist's path points out of the datalist's folder; links are not followed."""
    depth = 0
    for part in PurePosixPath(path).parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return Path(path).is_absolute()


def _study(entry: dict[str, Any], number: int, section: str) -> Study:
    label, patient = entry.get("label"), entry.get("patient_id")
    return Study(
        number=number,
        section=section,
        study_id=entry["study_id"],
        patient_id=entry["study_id"] if patient is None else str(patient),
        fold=entry.get("fold"),
        series={series_type: tuple(entry.get(series_type.value, ())) for series_type in SeriesType},
        label=None if label is None else np.asarray(label, dtype=np.int64),
        points={_FINDING_OF[name]: _triple(point) for name, point in entry.get("points", {}).items()},
    )


def _triple(point: list[float]) -> Point:
    x, y, z = map(float, point)
    return x, y, z
