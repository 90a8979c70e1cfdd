"""What is wrong with volumes that can be read: by themselves, within their study, and unlike all others.

A volume is unlike the others of its series type in the data set, or unlike those of an earlier fingerprint. A value's
distance is measured from the median in robust standard deviations (the interquartile range over 1.349), but at least in
units of the feature's floor, in the logarithm where the feature is one of ratios.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from data_prep.check.codes import Code
from data_prep.check.entries import Study
from data_prep.check.fingerprint import Spread, spread_of
from data_prep.check.volume_facts import FEATURES, Feature, VolumeFacts
from data_prep.faults import Fault
from monai_spine.data.series_typing import PLANES
from monai_spine.data.volume import Volume
from monai_spine.errors import counted
from monai_spine.geometry import obliquity, shear
from monai_spine.spine import SeriesType

SHEAR_DEGREES = 1.0
"""By how much a volume's axes may miss a right angle."""
PLAUSIBLE = {
    "pixel_width_mm": (0.15, 2.5),
    "pixel_height_mm": (0.15, 2.5),
    "slice_spacing_mm": (0.5, 12.0),
    "field_width_mm": (80.0, 600.0),
    "field_height_mm": (80.0, 600.0),
    "slices": (3, 400),
}
"""Ranges of lumbar magnetic resonance with room to spare: pixels of .3 to 1.5 mm, slices of 1 (3-D) to 6 mm."""
MIXED_RATIO = 1.5
"""From here on, fields of view of one series type count as mixed: 280 and 190 mm still do not."""
FARTHEST = 6.0
"""Robust standard deviations from the median beyond which a value is an outlier."""
RARE = 0.02
"""Share of volumes. A value that more volumes have belongs to a second protocol; it is no outlier."""
FEWEST = 20
"""With fewer volumes of a series type, they are not compared with each other."""
_IQR_OF_NORMAL = 1.349


def faults_of_volume(study: Study, volume: Volume, facts: VolumeFacts) -> Iterator[Fault]:
    """Faults of a volume by itself."""
    if not facts.perceptual_hash:
        yield study.fault(
            Code.CONSTANT_IMAGE, f"all are {volume.voxels.flat[0]:g}", series_type=facts.series_type, path=facts.path
        )
    angle = float(np.degrees(np.arcsin(min(1.0, shear(volume.affine)))))
    if angle > SHEAR_DEGREES:
        detail = f"two axes miss the right angle by {angle:.1f}°, expected at most {SHEAR_DEGREES:g}°"
        yield study.fault(Code.AFFINE_SHEARED, detail, series_type=facts.series_type, path=facts.path)
    if facts.plane is not PLANES[facts.series_type]:
        detail = f"slices are {facts.plane.value}, tilted by {obliquity(volume.affine):.0f}°"
        yield study.fault(Code.WRONG_PLANE, detail, series_type=facts.series_type, path=facts.path)
    implausible = [
        f"{name.replace('_mm', '').replace('_', ' ')} {value:.4g}, expected {low:g} to {high:g}"
        for name, (low, high) in PLAUSIBLE.items()
        if not low <= (value := facts.features[name]) <= high
    ]
    if implausible:
        detail = "; ".join(implausible)
        yield study.fault(Code.IMPLAUSIBLE_SIZE, detail, series_type=facts.series_type, path=facts.path)


def faults_between_volumes(study: Study, facts: Sequence[VolumeFacts]) -> Iterator[Fault]:
    """Missing series types, fields of view that differ, and series that do not overlap."""
    for series_type, paths in study.series.items():
        if not paths:
            yield study.fault(Code.SERIES_MISSING, f"no {series_type.title}", series_type=series_type)
        of_type = [one for one in facts if one.series_type is series_type and one.plane is PLANES[series_type]]
        yield from _mixed_fields(study, series_type, of_type)
    yield from _apart(study, facts)


def _mixed_fields(study: Study, series_type: SeriesType, facts: Sequence[VolumeFacts]) -> Iterator[Fault]:
    fields = [max(one.features["field_width_mm"], one.features["field_height_mm"]) for one in facts]
    if fields and max(fields) > MIXED_RATIO * min(fields):
        detail = f"from {min(fields):.0f} to {max(fields):.0f} mm over {counted(len(fields), 'volume')}"
        yield study.fault(
            Code.MIXED_FIELDS_OF_VIEW, detail, series_type=series_type, path=facts[int(np.argmax(fields))].path
        )


def _apart(study: Study, facts: Sequence[VolumeFacts]) -> Iterator[Fault]:
    """Series types whose boxes along the world's axes have nothing in common with each other's."""
    boxes = {}
    for series_type in SeriesType:
        corners = [one.box for one in facts if one.series_type is series_type]
        if corners:
            boxes[series_type] = (
                np.min([box[0] for box in corners], axis=0),
                np.max([box[1] for box in corners], axis=0),
            )
    gaps = {}
    for (one, (low, high)), (other, (other_low, other_high)) in combinations(boxes.items(), 2):
        gap = float(np.max(np.maximum(other_low - high, low - other_high)))
        if gap > 0:
            gaps[f"{one.title} and {other.title} lie {gap:.0f} mm apart"] = other
    if gaps:
        yield study.fault(Code.SERIES_APART, "; ".join(gaps), series_type=next(iter(gaps.values())))


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
    outliers: dict[tuple[int, str], list[str]] = {}
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
                    outliers.setdefault((one.number, one.path), []).append(_words(one.features[name], spread, feature))
    for place, words in outliers.items():
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
