"""The JSON file beside a volume: white-listed sequence parameters, geometry and origin; nothing that identifies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path

from data_prep.dicom.frames import Frame, Identity
from data_prep.dicom.nifti import file_checksum, sidecar_path
from data_prep.dicom.stacks.stack import Stack
from monai_spine.data.sidecars import SCHEMA
from monai_spine.geometry import obliquity, spacing


def content(stack: Stack, checksum: int, source: str, converter: str, exceptions: Collection[str]) -> bytes:
    """The sidecar's bytes. Keys are sorted, so that equal input gives equal bytes.

    Parameters
    ----------
    checksum
        CRC-32 of the NIfTI file's bytes.
    source
        `source_digest` of the stack.
    converter
        Name and version of the program that wrote the volume.
    exceptions
        Why the converter's own reader alone read some slices.
    """
    assert stack.affine is not None
    first, affine = stack.first, stack.affine
    plane = stack.plane
    record = {
        **dict(first.parameters),
        "Schema": SCHEMA,
        "Converter": converter,
        "PixelReader": f"monai_spine alone: {', '.join(sorted(exceptions))}" if exceptions else "SimpleITK",
        "SeriesDescription": first.identity.description,
        "StudyInstanceUID": first.identity.study,
        "Study": _own_name(first.identity),
        "SeriesInstanceUID": first.identity.series,
        "SeriesNumber": first.identity.series_number,
        "Plane": plane.value if plane else None,
        "ObliquityDegrees": round(obliquity(affine), 3),
        "ImageOrientationPatientDICOM": list(first.geometry.orientation) if first.geometry else None,
        "PixelSpacing": list(first.geometry.spacing) if first.geometry else None,
        "SliceStep": round(float(spacing(affine)[2]), 6),
        "PhotometricInterpretation": first.contrast.photometric,
        "EchoTime": first.contrast.echo_time
        if first.contrast.echo_time is not None
        else dict(first.parameters).get("EchoTime"),
        "BValue": first.contrast.b_value,
        "Volumes": _volumes(stack),
        "FileCRC32": f"{checksum:08x}",
        "SourceDigest": source,
    }
    present = {key: value for key, value in record.items() if value not in (None, "", [])}
    return (json.dumps(present, indent=2, sort_keys=True) + "\n").encode("utf-8")


def _own_name(identity: Identity) -> str:
    """The study's name where the UID does not tell it from another patient's; empty where it does."""
    ours = (f"{identity.study}-", "study-")  # names that `data_prep.dicom.studies` gives
    return identity.study_name if identity.study_name.startswith(ours) else ""


def _volumes(stack: Stack) -> list[dict[str, object]] | None:
    """The hints that differ between the volumes of a 4-D file, one record per volume."""
    if not stack.is_4d:
        return None
    hints = [dict(volume[0].hints) for volume in stack.volumes]
    names = {name for hint in hints for name in hint if len({str(other.get(name)) for other in hints}) > 1}
    return [{name: hint.get(name) for name in sorted(names - {"acquisition time"})} for hint in hints]


def is_finished(volume: Path, source: str) -> bool:
    """Whether an earlier run wrote this volume from input with this digest, and its bytes have not changed since."""
    try:
        record = json.loads(sidecar_path(volume).read_text(encoding="utf-8"))
        return bool(record["SourceDigest"] == source and record["FileCRC32"] == f"{file_checksum(volume)[0]:08x}")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def source_digest(stack: Stack) -> str:
    """A digest of a stack's files and of how they were understood; a resumed run recognises its volumes by it.

    It covers every byte of the files, since an editor of pixels may leave headers, sizes and times as they are. Reading
    them takes little time: they are read again at once, or not at all.
    """
    digest = hashlib.blake2b(digest_size=16)
    for location in dict.fromkeys(frame.pixels.location for frame in stack.frames):
        digest.update(f"{_checksum(location):08x}".encode())
    for number, volume in enumerate(stack.volumes):
        for frame in volume:
            digest.update(f"({number}, {_header_text(frame)})".encode())
    return digest.hexdigest()


def _checksum(location: str) -> int:
    """CRC-32 of a file; 0 if it cannot be read, for which its stack is refused later."""
    try:
        return file_checksum(Path(location))[0]
    except OSError:
        return 0


def _header_text(frame: Frame) -> str:
    """A frame's header values as text.

    Sidecars on disk hold digests of this text: if it changes, ``--resume`` converts everything again. So the contrast
    is written out, under the first name of its class, and `data_prep.dicom.frames.Geometry` must keep its name.
    """
    pixels, contrast = frame.pixels, frame.contrast
    storage = (
        pixels.syntax,
        pixels.offset,
        pixels.length,
        pixels.rows,
        pixels.columns,
        pixels.bits_stored,
        pixels.signed,
    )
    values = (frame.path, frame.index, frame.uid, frame.geometry, frame.slope, frame.intercept)
    contrast_text = (
        f"Kind(image_type={contrast.image_type!r}, component={contrast.component!r}, "
        f"photometric={contrast.photometric!r}, echo_time={contrast.echo_time!r}, "
        f"echo_number={contrast.echo_number!r}, b_value={contrast.b_value!r})"
    )
    return f"({', '.join(map(repr, values))}, {contrast_text}, {storage!r})"
