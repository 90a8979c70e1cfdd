"""DICOM files among the samples: written as 16-bit PNG as a radiologist sees them, with nothing of the header in it.

Patients of DICOM files are distinguished, but not named.
"""

import io
import math
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from data_prep.choices import MAX_BYTES
from data_prep.dicom import nifti
from data_prep.dicom.headers.elements import Elements, read_elements
from data_prep.dicom.headers.reader import read_header
from data_prep.dicom.pixels import own_frames
from data_prep.dicom.refusals import Reason, Refused
from data_prep.dicom.sources import Source
from data_prep.images.folders import is_dicom
from data_prep.images.sample import Sample
from data_prep.workers import run
from monai_spine.console import track
from monai_spine.errors import OutputError, counted, reason_of

FOLDER = "images"
_PART = ".part"
_OURS = re.compile(r"\d{6}\.png")
_CENTRE, _WIDTH, _FUNCTION, _LUT = 0x00281050, 0x00281051, 0x00281056, 0x00283010
_TAGS = frozenset((_CENTRE, _WIDTH, _FUNCTION, _LUT))
_WITHOUT_PLACE = {Reason.NO_GEOMETRY, Reason.LOCALIZER}
"""Reasons that keep a frame out of a volume, and not from being a picture."""
Grey = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Job:
    number: int
    part: int
    source: Path
    target: Path


@dataclass(frozen=True)
class Pictures:
    """Samples with pictures in the place of DICOM."""

    samples: list[Sample]
    faults: dict[int, str]
    """Why a sample has none, by its number."""
    sources: dict[str, Path]
    """DICOM file by the name of its picture."""


@contextmanager
def scratch_beside(out: Path) -> Iterator[Path]:
    """A folder for pictures inside of ``out``, gone when the block ends; those of killed runs are removed first.

    The lock of ``out`` must be held, so that they are nobody's. Raises `OutputError` if it cannot be made.
    """
    for left in out.glob(f".{FOLDER}.*{_PART}"):
        shutil.rmtree(left, ignore_errors=True)
    scratch = out / f".{FOLDER}.{os.getpid()}{_PART}"
    try:
        scratch.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"cannot write to the output folder {out}: {error.strerror}; choose another") from error
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def convert(samples: Sequence[Sample], scratch: Path, workers: int, quiet: bool) -> Pictures:
    """Write a picture into ``scratch`` for every DICOM file; other files stay where they are.

    Patients of DICOM files are numbered, where nobody else names them.
    """
    dicom = [(n, part, file) for n, sample in enumerate(samples) for part, file in enumerate(sample.files)]
    jobs = [
        _Job(n, part, file, scratch / f"{place:06d}.png")
        for place, (n, part, file) in enumerate(entry for entry in dicom if is_dicom(entry[2]))
    ]
    if not jobs:
        return Pictures(list(samples), {}, {})
    check_place(scratch.parent)
    made = list(samples)
    faults: dict[int, str] = {}
    patients: dict[int, str] = {}
    results = track(run(_convert, jobs, workers), "DICOM", len(jobs), quiet)
    for job, patient, fault in sorted(results, key=lambda result: result[0].number):
        if fault:
            faults[job.number] = fault
        files = list(made[job.number].files)
        files[job.part] = job.target
        made[job.number] = replace(made[job.number], files=tuple(files))
        if patient and not made[job.number].patient:
            patients[job.number] = patient
    numbers = {digest: f"patient {n}" for n, digest in enumerate(dict.fromkeys(patients.values()), start=1)}
    for number, digest in patients.items():
        made[number] = replace(made[number], patient=numbers[digest])
    return Pictures(made, faults, {job.target.name: job.source for job in jobs if job.number not in faults})


def settle(scratch: Path, out: Path, kept: Sequence[str]) -> None:
    """Move the pictures of these names to their place, instead of those of an earlier run."""
    if not kept:
        return
    for picture in scratch.iterdir():
        if picture.name not in kept:
            picture.unlink()
    if (out / FOLDER).exists():
        shutil.rmtree(out / FOLDER)
    scratch.rename(out / FOLDER)


def check_place(out: Path) -> None:
    """Make sure that nothing but pictures of an earlier run lies where pictures are to go.

    Raises `OutputError` if there is something else.
    """
    place = out / FOLDER
    if place.exists() and not (place.is_dir() and all(_OURS.fullmatch(entry.name) for entry in place.iterdir())):
        raise OutputError(f"{place} is where pictures of DICOM files go, but other files are there; choose another OUT")


def _convert(job: _Job) -> tuple[_Job, str, str]:
    """The job, the patient's digest, and why there is no picture."""
    try:
        return job, write_picture(job.source, job.target), ""
    except Refused as refusal:
        return job, "", f"{refusal.reason.value}: {refusal.detail}"
    except OSError as error:
        return job, "", f"UNREADABLE: {error.strerror}"
    except Exception as error:  # pydicom raises anything; one file must not end the run
        return job, "", f"UNREADABLE: {reason_of(error)}"


def write_picture(source: Path, target: Path) -> str:
    """Write a DICOM file's image as a PNG; returns a digest of the patient's number, empty if it has none.

    Stored values are rescaled; the first window of the header, or without one the range of the values, is spread over
    0 to 65535; ``MONOCHROME1`` is inverted.

    Raises `Refused` if it is no DICOM, damaged, in colour, of several frames, or has a look-up table in the place of a
    number.
    """
    header = read_header(Source(source.name, str(source)))
    if not header.frames:
        raise Refused(header.reason or Reason.NOT_AN_IMAGE, header.detail)
    frame = header.frames[0]
    if len(header.frames) > 1:
        raise Refused(Reason.UNSUPPORTED, f"{counted(len(header.frames), 'frame')}, where one image is expected")
    if frame.reason is not None and frame.reason not in _WITHOUT_PLACE:
        raise Refused(frame.reason, frame.detail)
    elements = read_elements(str(source), _TAGS, MAX_BYTES).elements
    if (elements.has_items(_LUT) or elements.data(_LUT)) and not elements.data(_CENTRE):
        raise Refused(Reason.UNSUPPORTED, "a look-up table in the place of a window")
    (stored,) = own_frames([frame])
    grey = shown(stored.astype(np.float64) * frame.slope + frame.intercept, elements)
    if frame.contrast.photometric == "MONOCHROME1":
        grey = 1 - grey
    png = io.BytesIO()
    Image.fromarray(np.rint(grey * 65535).astype(np.uint16)).save(png, "PNG", compress_level=1)
    nifti.write(target, [png.getvalue()])
    return frame.identity.patient.number


def shown(values: Grey, elements: Elements) -> Grey:
    """Rescaled values through the header's first window, else through their own range, 0 to 1 (PS3.3 C.11.2.1.2)."""
    centres, widths = elements.numbers(_CENTRE), elements.numbers(_WIDTH)
    centre, width = (centres or (math.nan,))[0], (widths or (math.nan,))[0]
    function = elements.text(_FUNCTION) or "LINEAR"
    least = 1.0 if function == "LINEAR" else 0.0
    if not (math.isfinite(centre) and math.isfinite(width) and (width > least or width == least == 1.0)):
        low, high = values.min(), values.max()
        return (values - low) / (high - low or 1)
    if function == "SIGMOID":
        sigmoid: Grey = 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
        return sigmoid
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    return np.clip((values - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5, 0, 1)
