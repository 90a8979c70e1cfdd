"""The JSON beside a volume: white-listed sequence parameters, geometry, provenance; nothing that identifies."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import numpy.typing as npt

from data_prep.dicom.frames import Frame
from data_prep.dicom.stacks import Stack
from monai_spine.geometry import obliquity, spacing

SCHEMA = "monai_spine/volume/1"


def content(stack: Stack, affine: npt.NDArray[np.float64], checksum: int, source: str, converter: str) -> bytes:
    """The sidecar's bytes: sorted keys, equal for equal input.

    Parameters
    ----------
    checksum
        CRC-32 of the NIfTI file's bytes.
    source
        `source_digest` of the stack.
    converter
        Name and version of what wrote the volume.
    """
    first = stack.first
    plane = stack.plane
    record = {
        **dict(first.parameters),
        "Schema": SCHEMA,
        "Converter": converter,
        "SeriesDescription": first.identity.description,
        "StudyInstanceUID": first.identity.study,
        "SeriesInstanceUID": first.identity.series,
        "SeriesNumber": first.identity.series_number,
        "Plane": plane.value if plane else None,
        "ObliquityDegrees": round(obliquity(affine), 3),
        "ImageOrientationPatientDICOM": list(first.geometry.orientation) if first.geometry else None,
        "PixelSpacing": list(first.geometry.spacing) if first.geometry else None,
        "SliceStep": round(float(spacing(affine)[2]), 6),
        "PhotometricInterpretation": first.kind.photometric,
        "EchoTime": first.kind.echo_time
        if first.kind.echo_time is not None
        else dict(first.parameters).get("EchoTime"),
        "BValue": first.kind.b_value,
        "Volumes": _volumes(stack),
        "FileCRC32": f"{checksum:08x}",
        "SourceDigest": source,
    }
    kept = {key: value for key, value in record.items() if value not in (None, "", [])}
    return (json.dumps(kept, indent=2, sort_keys=True) + "\n").encode("utf-8")


def _volumes(stack: Stack) -> list[dict[str, object]] | None:
    """What tells the volumes of a 4-D file apart, one record per volume."""
    if len(stack.volumes) == 1:
        return None
    hints = [dict(volume[0].hints) for volume in stack.volumes]
    names = {name for hint in hints for name in hint if len({str(other.get(name)) for other in hints}) > 1}
    return [{name: hint.get(name) for name in sorted(names - {"acquisition time"})} for hint in hints]


def source_digest(stack: Stack) -> str:
    """A digest of the headers that a stack was made from: a later run recognises its own work by it."""
    digest = hashlib.blake2b(digest_size=16)
    for number, volume in enumerate(stack.volumes):
        for frame in volume:
            digest.update(repr((number, _fingerprint(frame))).encode())
    return digest.hexdigest()


def _fingerprint(frame: Frame) -> tuple[object, ...]:
    pixels = frame.pixels
    place = (
        pixels.syntax,
        pixels.offset,
        pixels.length,
        pixels.rows,
        pixels.columns,
        pixels.bits_stored,
        pixels.signed,
    )
    return frame.path, frame.index, frame.uid, frame.geometry, frame.slope, frame.intercept, frame.kind, place
