"""The structured report: Comprehensive 3D SR after TID 1500, with all 25 findings and their points.

Each finding is a planar group (TID 1410) whose region is a POINT on the source image, since an image-level group
cannot name an image; a finding that no image shows is a group without a region (TID 1501).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    GraphicTypeValues,
    GraphicTypeValues3D,
    ImageRegion,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    Scoord3DContentItem,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes

from monai_spine import __version__
from monai_spine.dicom_out import codes as own
from monai_spine.dicom_out.identity import EQUIPMENT, SERIAL_NUMBER, SERIES_PREFIX, ObjectIdentity
from monai_spine.dicom_out.measure_groups import measure_groups
from monai_spine.dicom_out.source_image import SourceImage, SourceImages
from monai_spine.geometry import LPS_TO_RAS
from monai_spine.report.study_result import FindingResult, Point, StudyResult
from monai_spine.spine import Grade

SERIES_NUMBER = 9901
FindingGroup = PlanarROIMeasurementsAndQualitativeEvaluations | MeasurementsAndQualitativeEvaluations
_CONTAINS = RelationshipTypeValues.CONTAINS
_NO_UNITS = own.shared(codes.UCUM.NoUnits)
_COMMENT = own.shared(codes.DCM.Comment)


def structured_report(result: StudyResult, sources: SourceImages, identity: ObjectIdentity) -> Dataset:
    """The report of a study, complete and unverified.

    Raises
    ------
    NoDicomError
        If a source image cannot be read.
    """
    algorithm = _algorithm(result)
    groups: list[Any] = [_group(one, sources, algorithm, identity) for one in result.findings]
    groups += measure_groups(result, sources, identity)
    comments = (result.provenance, *_weights(result), *_about_measures(result))
    evidence = [reference(image.header) for image in sources.read]
    return document(groups, comments, observation_context(), evidence, identity)


def document(  # noqa: PLR0917 - what a report is made of
    groups: Sequence[Any],
    comments: Iterable[str],
    observer: ObservationContext,
    evidence: Sequence[Dataset],
    identity: ObjectIdentity,
    name: str = "sr",
    title: str = "graded lumbar findings",
    number: int = SERIES_NUMBER,
) -> Dataset:
    """A report after TID 1500 of measurement groups; ``name`` makes its UIDs, ``title`` describes its series."""
    content = MeasurementReport(
        observation_context=observer, procedure_reported=own.PROCEDURE, imaging_measurements=groups
    )
    content[0].ContentSequence.extend(map(comment, comments))
    # The constructor copies the content and searches it three times, 40 % of the objects' time. It gets the root alone.
    root = Dataset()
    root.update({element.tag: element for element in content[0] if element.keyword != "ContentSequence"})
    root.ContentSequence = []
    report = Comprehensive3DSR(
        evidence=evidence,
        content=root,
        series_instance_uid=identity.uid(f"{name} series"),
        series_number=number,
        sop_instance_uid=identity.uid(name),
        instance_number=1,
        is_complete=True,
        is_final=False,
        is_verified=False,
        device_serial_number=SERIAL_NUMBER,
        series_description=f"{SERIES_PREFIX}{title}",
        coding_schemes=own.coding_schemes(),
        performed_procedure_codes=[own.PROCEDURE],
        **EQUIPMENT,
    )
    report.ContentSequence = content[0].ContentSequence
    identity.apply(report)
    return report


def reference(source: Dataset) -> Dataset:
    """What a report needs of an object that it names. `ObjectIdentity` alone sets the identity, and takes any value."""
    header = Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(header, keyword, source.get(keyword))
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(header, keyword, "")
    header.StudyDate = header.StudyTime = None
    return header


def observation_context() -> ObservationContext:
    """This program as the observer."""
    device = DeviceObserverIdentifyingAttributes(
        uid=own.SCHEME_UID, name="monai_spine", manufacturer_name="monai_spine", model_name="monai_spine"
    )
    observer = ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    return ObservationContext(observer_device_context=observer)


def _algorithm(result: StudyResult) -> AlgorithmIdentification:
    names = [str(model.get("bundle", "")) for model in result.models]
    return AlgorithmIdentification(name=plain(f"monai_spine {' and '.join(names)}".strip()), version=__version__)


def _weights(result: StudyResult) -> list[str]:
    """The weights of the models; once for all findings, since 25 times would double the report."""
    return [
        f"{model.get('bundle')}: SHA-256 of {file} is {digest}; trained on: {model.get('trained_on') or 'not known'}"
        for model in result.models
        for file, digest in (model.get("weights") or {}).items()
    ]


def _about_measures(result: StudyResult) -> list[str]:
    """In words, what no code says of the measures."""
    measures = result.measures
    if measures is None:
        return []
    if measures.reason:
        return [f"There are no measures: {measures.reason}"]
    return [
        f"Measured in {measures.volume}. Nine in ten values have an error below the uncertainty. Percentiles are among "
        f"the values of: {measures.reference}"
    ]


def plain(text: str) -> str:
    """A text in ASCII, which every character set of DICOM holds; letters without one in it are such as ``U+674E``."""
    return "".join(one if one.isascii() else _in_ascii(one) for one in text)


def _in_ascii(letter: str) -> str:
    kept = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode("ascii")
    return kept or (f"U+{ord(letter):04X}" if letter.isalnum() else "")


def comment(text: str) -> TextContentItem:
    """A sentence for people."""
    return TextContentItem(_COMMENT, plain(text), _CONTAINS)


def _group(
    one: FindingResult, sources: SourceImages, algorithm: AlgorithmIdentification, identity: ObjectIdentity
) -> FindingGroup:
    """The program's finding."""
    group = finding_group(one, one.grade, sources, identity, algorithm_id=algorithm, measurements=_probabilities(one))
    group[0].ContentSequence.append(comment(". ".join([one.coverage, *one.notes])))
    return group


def finding_group(
    one: FindingResult, grade: Grade, sources: SourceImages, identity: ObjectIdentity, **more: Any
) -> FindingGroup:
    """The group of a finding with a grade, at its point on the image that shows it."""
    image = sources.image(one.series, one.slice_index, one.slice_axis) if one.covered else None
    evaluations = [QualitativeEvaluation(own.SEVERITY, own.GRADES[grade])]
    if not one.covered:
        evaluations.append(QualitativeEvaluation(own.COVERAGE, own.NOT_SHOWN))
    about = {
        "tracking_identifier": TrackingIdentifier(uid=identity.uid(one.finding.name), identifier=one.finding.name),
        "finding_type": own.FINDING_TYPES[one.finding.condition.group],
        "finding_sites": own.finding_sites(one.finding),
        "qualitative_evaluations": evaluations,
        **more,
    }
    group: FindingGroup
    if image is None or one.point is None:
        group = MeasurementsAndQualitativeEvaluations(**about)
    else:
        group = PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=_region(image, one.point), **about)
    items = group[0].ContentSequence
    if one.point is not None and image is not None and image.header.get("FrameOfReferenceUID"):
        items.append(_in_patient(one.point, image))
    return group


def _probabilities(one: FindingResult) -> list[Measurement]:
    names = [(own.PROBABILITY, one.grade), *((own.PROBABILITIES[grade], grade) for grade in Grade)]
    return [Measurement(name, round(one.natural[grade], 6), _NO_UNITS) for name, grade in names]


def _region(image: SourceImage, point: Point) -> ImageRegion:
    """The point's projection on the image, as a place in it."""
    header = image.header
    source = SourceImageForRegion(str(header.SOPClassUID), str(header.SOPInstanceUID), image.frame_numbers)
    return ImageRegion(GraphicTypeValues.POINT, np.array([image.image_point(point)]), source)


def _in_patient(point: Point, image: SourceImage) -> Scoord3DContentItem:
    """The point itself in LPS mm: it may lie up to 5 mm beside the image's plane."""
    lps = np.array([LPS_TO_RAS @ np.asarray(point)])
    frame_of_reference = str(image.header.FrameOfReferenceUID)
    return Scoord3DContentItem(
        own.POINT, GraphicTypeValues3D.POINT, lps, frame_of_reference, relationship_type=_CONTAINS
    )
