"""What measures are compared with: the percentiles of a cohort, the usual error, and limits for a grade of the canal.

The file of the package comes from phantoms. A user's own cohort can take its place; see `reference_of`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from monai_spine.bundle.shipped import LEVEL_LOCALIZER
from monai_spine.errors import InvalidTableError, MissingInputError, counted
from monai_spine.files import read_json, write_text
from monai_spine.measures.regions import RegionFinder
from monai_spine.spine import Grade, Level

SCHEMA = "monai_spine/measures-reference/1"
SHIPPED = LEVEL_LOCALIZER / "models/measures.json"
SHARES = tuple(round(share, 2) for share in np.arange(0.01, 1.0, 0.01).tolist())
"""Of the quantiles that a reference holds."""
LEAST_STUDIES = 20
"""Studies below which a cohort has no percentiles."""
_WHOLE = "whole"
"""Key of what is measured once a study, in place of a level."""


@dataclass(frozen=True)
class Offsets:
    """Millimetres that are added to the canal's depths and to the discs' heights.

    Regions that were learnt on phantoms alone leave out what people count in, such as the dura and the dark line in
    front of it. Offsets are the medians of 12 real patients.
    """

    canal: float = 0.0
    disc: float = 0.0


NO_OFFSETS = Offsets()


@dataclass(frozen=True)
class Reference:
    """What a value is compared with.

    Attributes
    ----------
    name
        What it was taken from, in words.
    quantiles
        By measure and level, values at `SHARES`.
    errors
        By measure, the absolute error that nine in ten values stay below.
    canal_limits
        Shares of the canal's own diameter (``canal_share``) below which it is moderately and severely narrow.
    offsets
        What is added to measures of the regions.
    weights
        Those of the network of the regions: a file in the models of the level localizer's bundle, or a whole path.
    """

    name: str
    quantiles: Mapping[str, Mapping[str, Sequence[float]]]
    errors: Mapping[str, float]
    canal_limits: tuple[float, float]
    offsets: Offsets = NO_OFFSETS
    weights: str = Path(RegionFinder.WEIGHTS).name

    @property
    def weights_file(self) -> Path:
        """The file of the weights."""
        return LEVEL_LOCALIZER / "models" / self.weights

    def entry(self, measure: str, value: float, level: Level | None = None) -> dict[str, float | None]:
        """A value for ``findings.json``, with its uncertainty and its percentile among those of the cohort."""
        known = self.quantiles.get(measure, {}).get(level.value if level else _WHOLE)
        percentile = None if known is None else round(100 * float(np.interp(value, known, SHARES)))
        return {"value": round(value, 2), "uncertainty": self.errors.get(measure), "percentile": percentile}

    def canal_grade(self, values: Mapping[str, float]) -> str | None:
        """The grade of the canal by a level's values alone; None where they are not known."""
        share = values.get("canal_share")
        if share is None:
            return None
        moderate, severe = self.canal_limits
        return (Grade.SEVERE if share < severe else Grade.MODERATE if share < moderate else Grade.NORMAL_MILD).column

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        content = {
            "schema": SCHEMA,
            "name": self.name,
            "shares": SHARES,
            "quantiles": self.quantiles,
            "errors": self.errors,
            "canal_limits": self.canal_limits,
            "offsets": asdict(self.offsets),
            "weights": self.weights,
        }
        write_text(path, json.dumps(content) + "\n")


def read_reference(path: Path | None = None) -> Reference:
    """Read a reference; None for the one of the package.

    Raises
    ------
    MissingInputError
        If there is no such file.
    InvalidTableError
        If it is not a reference.
    """
    path = path or SHIPPED
    if not path.is_file():
        raise MissingInputError(f"there is no {path}; expected a reference for measures")
    try:
        content = read_json(path)
        if content["schema"] != SCHEMA or tuple(content["shares"]) != SHARES:
            raise ValueError
        moderate, severe = map(float, content["canal_limits"])
        quantiles = {
            str(measure): {str(level): [float(value) for value in values] for level, values in levels.items()}
            for measure, levels in content["quantiles"].items()
        }
        if any(len(values) != len(SHARES) for levels in quantiles.values() for values in levels.values()):
            raise ValueError
        errors = {str(name): float(value) for name, value in content["errors"].items()}
        offsets = Offsets(float(content["offsets"]["canal"]), float(content["offsets"]["disc"]))
        name, weights = str(content["name"]), str(content["weights"])
        return Reference(name, quantiles, errors, (moderate, severe), offsets, weights)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidTableError(f"{path}: expected a reference for measures, of the schema {SCHEMA}") from error


def reference_of(studies: Iterable[Mapping[str, Any]], name: str, like: Reference) -> Reference:
    """The reference of a cohort.

    Parameters
    ----------
    studies
        Contents of ``findings.json``, with measures.
    name
        What the cohort is, in words.
    like
        The reference whose errors, limits, offsets and weights it has: a cohort does not tell them.

    Raises
    ------
    InvalidTableError
        If there are fewer than `LEAST_STUDIES` studies with measures, or one breaks the format.
    """
    values: dict[tuple[str, str], list[float]] = {}
    count = 0
    try:
        for study in studies:
            measures = study.get("measures", {})
            count += "levels" in measures
            for level, entries in {**measures.get("levels", {}), _WHOLE: measures.get("whole", {})}.items():
                for measure, entry in entries.items():
                    if isinstance(entry, Mapping):
                        values.setdefault((measure, level), []).append(float(entry["value"]))
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise InvalidTableError(f"expected findings.json of predict, but one has other measures ({error})") from error
    if count < LEAST_STUDIES:
        raise InvalidTableError(f"expected {LEAST_STUDIES} studies with measures or more, but found {count}")
    quantiles: dict[str, dict[str, list[float]]] = {}
    for (measure, level), own in sorted(values.items()):
        if len(own) >= LEAST_STUDIES:
            quantiles.setdefault(measure, {})[level] = [round(float(one), 2) for one in np.quantile(own, SHARES)]
    return replace(like, name=f"{name} ({counted(count, 'study')})", quantiles=quantiles)
