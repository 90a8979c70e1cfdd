"""The report as an Encapsulated PDF object (PS3.3 A.45.1)."""

from __future__ import annotations

import datetime

from highdicom.base import SOPClass
from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian
from pydicom.valuerep import DA, TM

from monai_spine.dicom_out.identity import EQUIPMENT, SERIAL_NUMBER, SERIES_PREFIX, ObjectIdentity
from monai_spine.dicom_out.source_image import SourceImage

SERIES_NUMBER = 9903


def encapsulated_pdf(pdf: bytes, identity: ObjectIdentity, sources: list[SourceImage]) -> Dataset:
    """An object that holds a PDF."""
    document = SOPClass(
        study_instance_uid=identity.study,
        series_instance_uid=identity.uid("report series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=identity.uid("report"),
        sop_class_uid=EncapsulatedPDFStorage,
        instance_number=1,
        modality="DOC",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        device_serial_number=SERIAL_NUMBER,
        series_description=f"{SERIES_PREFIX}report of graded findings",
        **EQUIPMENT,
    )
    now = datetime.datetime.now()
    document.ContentDate, document.ContentTime = DA(now.date()), TM(now.time())
    document.AcquisitionDateTime = None
    document.ConversionType = "WSD"
    document.BurnedInAnnotation = "YES"
    document.DocumentTitle = "Lumbar spine MRI, research report"
    document.ConceptNameCodeSequence = []
    document.SourceInstanceSequence = [one.reference() for one in sources]
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document.EncapsulatedDocumentLength = len(pdf)
    document.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    identity.apply(document)
    return document
