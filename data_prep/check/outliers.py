"""Volumes unlike the others of their series type: within the data set, and against an earlier fingerprint.

A value's distance is measured from the median in robust standard deviations (the interquartile range over 1.349), but
at least in units of the feature's floor, in the logarithm where the feature is one of ratios.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from data_prep.check.codes import Code
from data_prep.check.entries import Study
from data_prep.check.fingerprint import Spread, spread_of
from data_prep.check.volume_facts import FEATURES, Feature, VolumeFacts
from data_prep.faults import Fault
from monai_spine.spine import SeriesType

FARTHEST = 6.0
"""Robust standard deviations from the median beyond which a value is odd."""
RARE = 0.02
"""Share of volumes. A value that more volumes have belongs to a second protocol; it is no outlier."""
FEWEST = 20
"""With fewer volumes of a series type, they are not compared with each other."""
_IQR_OF_NORMAL = 1.349


def distance(value: float, spread: Spread, feature: Feature) -> float:
    """How far a value lies from the median, in robust standard deviations."""
    if feature.floor is None:
        return 0.0
    value, low, middle, high = (
        _scaled(number, feature) for number in (value, spread.p25, spread.median, spread.p75)
    )  # fmt: skip
    return abs(value - middle) / max((high - low) / _IQR_OF_NORMAL, feature.floor)


def faults_within(studies: Mapping[int, Study], facts: Sequence[VolumeFacts]) -> Iterator[Fault]:
    """Volumes with a value that lies far from the median and that hardly any other volume has."""
    odd: dict[tuple[int, str], list[str]] = {}
    where = {(one.number, one.path): one for one in facts}
    for series_type in SeriesType:
        of_type = [one for one in facts if one.series_type is series_type]
        if len(of_type) < FEWEST:
            continue
        for name, feature in FEATURES.items():
            spread = spread_of([one.features[name] for one in of_type])
            far = [one for one in of_type if distance(one.features[name], spread, feature) > FARTHEST]
            if len(far) <= max(1, RARE * len(of_type)):
                for one in far:
                    odd.setdefault((one.number, one.path), []).append(_words(one.features[name], spread, feature))
    for place, words in odd.items():
        one = where[place]
        yield studies[one.number].fault(Code.OUTLIER, "; ".join(words), series_type=one.series_type, path=one.path)


def faults_against(
    studies: Mapping[int, Study], facts: Sequence[VolumeFacts], stored: Mapping[SeriesType, Mapping[str, Spread]]
) -> Iterator[Fault]:
    """Volumes with a value outside the stored range and far from the stored median."""
    for one in facts:
        spreads = stored.get(one.series_type, {})
        words = [
            _words(one.features[name], spread, FEATURES[name])
            for name, spread in spreads.items()
            if name in FEATURES
            and not spread.minimum <= one.features[name] <= spread.maximum
            and distance(one.features[name], spread, FEATURES[name]) > FARTHEST
        ]
        if words:
            study = studies[one.number]
            yield study.fault(Code.OUTSIDE_FINGERPRINT, "; ".join(words), series_type=one.series_type, path=one.path)


def _scaled(value: float, feature: Feature) -> float:
    return math.log(max(value, 1e-6)) if feature.logarithmic else value


def _words(value: float, spread: Spread, feature: Feature) -> str:
    unit = "" if not feature.unit else feature.unit if feature.unit == "°" else f" {feature.unit}"
    return f"{feature.title} {value:.3g}{unit} (half of the others: {spread.p25:.3g} to {spread.p75:.3g})"
