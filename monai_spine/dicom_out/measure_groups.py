"""The measures of a study in its structured report: for each level a group of the canal and one of the disc.

They are groups after TID 1501, whose finding sites say level and structure. Each value has its unit, its uncertainty
and its percentile as properties of the measurement (TID 310).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    ContentSequence,
    FindingSite,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    NumContentItem,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TrackingIdentifier,
)

from monai_spine import __version__
from monai_spine.dicom_out import codes as own
from monai_spine.dicom_out.identity import ObjectIdentity
from monai_spine.dicom_out.source_image import SourceImage, SourceImages
from monai_spine.report.study_measures import Measure, StudyMeasures
from monai_spine.report.study_result import FindingResult, StudyResult
from monai_spine.spine import Condition, Group

Concepts = Mapping[str, tuple[CodedConcept, CodedConcept, CodedConcept | None]]

_ALGORITHM = "monai_spine measures of lumbar_level_localizer"
_PROPERTY = RelationshipTypeValues.HAS_PROPERTIES


def measure_groups(
    result: StudyResult, sources: SourceImages, identity: ObjectIdentity
) -> Iterator[MeasurementsAndQualitativeEvaluations]:
    """The groups of all levels that were measured, then that of the lordosis."""
    if result.measures is None:
        return
    canal = {one.finding.level: one for one in result.of(Condition.SPINAL_CANAL_STENOSIS)}
    for level, values in result.measures.levels.items():
        disc = FindingSite(own.DISCS[level])
        image = _image(canal[level], result.measures, sources)
        sites = {"canal": (disc, FindingSite(own.SITES[Group.SPINAL])), "disc": (disc,)}
        for structure, concepts in (("canal", own.CANAL_MEASURES), ("disc", own.DISC_MEASURES)):
            name = f"{structure}_measures_{level.value}"
            yield from _group(name, sites[structure], values, concepts, identity, image)
    spine = (FindingSite(own.LUMBAR_SPINE),)
    yield from _group("lordosis", spine, result.measures.whole, own.SPINE_MEASURES, identity, None)


def _group(  # noqa: PLR0917 - what a group is made of
    name: str,
    sites: tuple[FindingSite, ...],
    values: Mapping[str, Measure],
    concepts: Concepts,
    identity: ObjectIdentity,
    image: SourceImage | None,
) -> Iterator[MeasurementsAndQualitativeEvaluations]:
    """A group; nothing if none of its measures is known."""
    measurements = [_measurement(values[key], *concept) for key, concept in concepts.items() if key in values]
    if measurements:
        yield MeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(uid=identity.uid(name), identifier=name),
            finding_sites=sites,
            algorithm_id=AlgorithmIdentification(name=_ALGORITHM, version=__version__),
            measurements=measurements,
            source_images=None if image is None else [_source(image)],
        )


def _measurement(one: Measure, name: CodedConcept, unit: CodedConcept, derivation: CodedConcept | None) -> Measurement:
    measurement = Measurement(name, one.value, unit, derivation=derivation)
    properties: list[tuple[Any, float | None, CodedConcept]] = [
        (own.UPPER_UNCERTAINTY, one.uncertainty, unit),
        (own.LOWER_UNCERTAINTY, one.uncertainty, unit),
        (own.PERCENTILE, one.percentile, own.PERCENT),
    ]
    # highdicom's own `MeasurementProperties` writes uncertainties without their unit.
    items = [NumContentItem(key, value, of, None, _PROPERTY) for key, value, of in properties if value is not None]
    if items:
        measurement[0].ContentSequence = ContentSequence([*measurement[0].get("ContentSequence", []), *items])
    return measurement


def _image(canal: FindingResult, measures: StudyMeasures, sources: SourceImages) -> SourceImage | None:
    """The slice through the canal of the volume in which the level was measured, if a finding names it."""
    if not canal.covered or canal.series != measures.volume:
        return None
    return sources.image(canal.series, canal.slice_index, canal.slice_axis)


def _source(image: SourceImage) -> SourceImageForMeasurementGroup:
    header = image.header
    return SourceImageForMeasurementGroup(str(header.SOPClassUID), str(header.SOPInstanceUID), image.frame_numbers)
