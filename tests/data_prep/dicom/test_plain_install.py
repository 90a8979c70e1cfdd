"""Every transfer syntax in use decodes with the packages that the installation itself requires."""

from __future__ import annotations

import base64
import configparser
import subprocess
import sys
from pathlib import Path

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from tests.data_prep import dicom_factory as factory
from tests.data_prep import oracle

ROOT = Path(__file__).resolve().parents[3]

OTHER_DECODERS = ("pylibjpeg", "openjpeg", "libjpeg", "rle", "gdcm", "_gdcm", "jpeg_ls", "jpegls", "PIL", "imagecodecs")
"""Packages that pydicom decodes with if they are installed."""

JPEG_LS = (
    "/9j/9wALEAAQABABAREA//gADQH//wASAEMBFABA/9oACAEBAAAAAKBsDYFwNgXBMDwWCwOBsC4JgeCwSgdAyCoIg0EgkEgoKCgoKCgdVQOgZB"
    "UEQaCQSCQUFBQUFBQOi1BQUCBAgQIECBAgQIEDI+QIECBAggggggggggqnoHQMgqCINBIJBIKCgoKCgoHTGgoKBAgQIECBAgQIECBk6IECBAgQ"
    "QQQQQQQQQVhUEEEEEEEEEEEEEEEZZBBBBBBBBBCEIQg2nQhCEIQhCEIQhBNwhCEIQhCEIQhEE5KIiIiIiIiIgnaREREREREREE60RJJJJJJBPx"
    "JJJJJJJBD/2Q=="
)
"""A JPEG-LS codestream of `ramp`, lossless, made with GDCM 3.2.6."""

SYNTAXES = (
    *(uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian),
    *(uid.DeflatedExplicitVRLittleEndian, uid.RLELossless, uid.JPEGLosslessSV1, uid.JPEG2000Lossless),
    uid.JPEGLSLossless,
)


def ramp() -> np.ndarray:
    """The values of every image in these tests."""
    return np.add.outer(np.arange(16) ** 2 * 9, np.arange(16) * 7) % 4096


def image_in(image: Dataset, syntax: str) -> Dataset:
    """The image with its pixels as the syntax has them."""
    if syntax == uid.JPEGLSLossless:
        image.PixelData = encapsulate([base64.b64decode(JPEG_LS)])
        image["PixelData"].VR = "OB"
        return image
    return factory.compressed(image, syntax) if uid.UID(syntax).is_encapsulated else image


def test_all_syntaxes_decode_without_the_decoders_of_the_tests(tmp_path: Path) -> None:
    for seed, syntax in enumerate(SYNTAXES):
        images = factory.series(3, rows=16, columns=16, seed=seed)
        for image in images:
            factory.set_pixels(image, ramp())
        factory.write(tmp_path / "in" / str(seed), [image_in(image, syntax) for image in images], syntax)
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({OTHER_DECODERS!r})); "
        "from data_prep.cli import main; sys.argv = ['data_prep', 'convert', *sys.argv[1:]]; main()"
    )
    arguments = [str(tmp_path / "in"), str(tmp_path / "out"), "--verify", "full", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [row["reason"] for row in oracle.manifest(tmp_path / "out")] == [""] * len(SYNTAXES)
    assert oracle.check(tmp_path / "in", tmp_path / "out") == {"used": 3 * len(SYNTAXES)}


def test_decoders_of_the_tests_are_not_required() -> None:
    """So that hiding them shows what a plain install does."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    required = setup["options"]["install_requires"].lower()
    assert not any(name in required for name in ("pylibjpeg", "gdcm", "jpegls", "imagecodecs"))
