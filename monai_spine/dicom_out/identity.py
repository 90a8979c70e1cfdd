"""The identity of a study: patient and study of the source images, taken over as they are."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pydicom
from pydicom import Dataset
from pydicom.config import disable_value_validation
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.uid import UID

from monai_spine import __version__
from monai_spine.dicom_out.source_image import SourceImage
from monai_spine.prediction.object_files import MANUFACTURER

_MAY_BE_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
"""Elements that an object must have, if only empty."""
_WHERE_KNOWN = (
    *("IssuerOfPatientID", "OtherPatientIDs", "PatientAge", "PatientSize", "PatientWeight"),
    *("StudyDescription", "PatientIdentityRemoved", "DeidentificationMethod"),
)
SERIES_PREFIX = "Research: "
_UTF8 = "ISO_IR 192"
_NAMESPACE = uuid.UUID("8f7761d9-e78f-4b5c-b52a-3e03dc7e5b51")
"""Of the names that UIDs are made of."""


@dataclass(frozen=True)
class ObjectIdentity:
    """Patient and study.

    Attributes
    ----------
    elements
        Values by keyword, decoded.
    character_set
        As the source declares it; values that do not survive it are written in UTF-8.
    grading
        What the objects' UIDs are made of: the source images, the models, and what else their content depends on.
    """

    study: str
    elements: dict[str, Any]
    character_set: Any
    grading: str = ""

    @classmethod
    def of(cls, images: Sequence[SourceImage], *about: object) -> ObjectIdentity:
        """The identity of images of one study; for each element the first value that is not empty.

        ``about`` is what the content of the objects depends on besides the images.
        """
        elements = {}
        for keyword in (*_MAY_BE_EMPTY, *_WHERE_KNOWN):
            values = [one.header.get(keyword) for one in images]
            elements[keyword] = next((value for value in values if value not in (None, "")), None)
        source = next((one.header for one in images if one.header.get("SpecificCharacterSet")), Dataset())
        declared = source.get("SpecificCharacterSet")
        study = str(images[0].header.StudyInstanceUID)
        sources = sorted({str(one.header.get("SOPInstanceUID")) for one in images})
        grading = json.dumps([__version__, study, sources, *about], sort_keys=True, default=str)
        kept = cls(study, elements, declared, grading)
        return kept if kept.survives() else replace(kept, character_set=_UTF8)

    def uid(self, name: str) -> UID:
        """The UID of an object or a series of this grading.

        It is a name-based UUID under the root that anybody may use (PS3.5 B.2). The same grading has the same UIDs, so
        that an archive to which its objects are sent twice keeps one of each.
        """
        return UID(f"2.25.{uuid.uuid5(_NAMESPACE, f'{self.grading}/{name}').int}")

    def about(self, more: Sequence[object]) -> ObjectIdentity:
        """The same with UIDs that depend on something more, unless it is empty."""
        return replace(self, grading=f"{self.grading}{json.dumps(list(more))}") if more else self

    def holding(self, text: str) -> ObjectIdentity:
        """The same in a character set that holds a text, too."""
        return self if text.isascii() else replace(self, character_set=_UTF8)

    def apply(self, target: Dataset) -> None:
        """Set the elements of patient and study in an object."""
        # Values are taken over as the archive knows them, also those that break the rules of their representation.
        with disable_value_validation():
            for keyword, value in self.elements.items():
                if value is None and keyword in _WHERE_KNOWN:
                    continue
                tag = tag_for_keyword(keyword)
                if tag is not None:
                    target.add_new(tag, dictionary_VR(tag), value)
            target.StudyInstanceUID = self.study
            if self.character_set is None:
                target.pop("SpecificCharacterSet", None)
            else:
                target.SpecificCharacterSet = self.character_set

    def survives(self) -> bool:
        """Whether all values are the same after they were written and read in the character set."""
        target = Dataset()
        self.apply(target)
        # pydicom reads and writes Latin-1 where no set is declared, but the standard says ASCII.
        if not self.character_set and not all(str(target.get(key) or "").isascii() for key in self.elements):
            return False
        buffer = io.BytesIO()
        try:
            with disable_value_validation():
                target.save_as(buffer, implicit_vr=False, little_endian=True)
                again = pydicom.dcmread(io.BytesIO(buffer.getvalue()), force=True)
                return all(str(again.get(key) or "") == str(target.get(key) or "") for key in self.elements)
        except (UnicodeError, LookupError, ValueError):
            return False


EQUIPMENT: dict[str, Any] = {
    "manufacturer": MANUFACTURER,
    "manufacturer_model_name": "monai_spine",
    "software_versions": __version__,
}
SERIAL_NUMBER = "0"
"""A program has no serial number, and some archives insist on one."""
