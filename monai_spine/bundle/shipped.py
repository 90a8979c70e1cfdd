"""The bundles that come with the package: where they lie, what they are, and copies of them to change."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from monai_spine.bundle.provenance import read_metadata, trained_on
from monai_spine.errors import InvalidOptionError, MissingInputError, near_names
from monai_spine.files import PARTIAL
from monai_spine.output_lock import LOCK

_IN_WHEEL = Path(__file__).resolve().parents[1] / "bundles"
_IN_CHECKOUT = Path(__file__).resolve().parents[2] / "bundles"

BUNDLES = _IN_WHEEL if _IN_WHEEL.is_dir() else _IN_CHECKOUT
"""Inside the package where a wheel was installed; at the top level of a checkout."""

LEVEL_LOCALIZER = BUNDLES / "lumbar_level_localizer"
RECESS_LOCALIZER = BUNDLES / "lumbar_recess_localizer"
GRADER = BUNDLES / "lumbar_25d_grader"
UNET_CLASSIFIER = BUNDLES / "lumbar_unet_classifier"

LEFT_BY_RUNS = shutil.ignore_patterns(
    "__pycache__", "eval", "cache", "converted", "latest.pt", "previous.pt", LOCK, f"*{PARTIAL}"
)
"""What a copy of a bundle leaves out, for `shutil.copytree`."""


@dataclass(frozen=True)
class ShippedBundle:
    """A bundle of the package.

    Attributes
    ----------
    trained_on
        What the weights in the bundle's ``models`` were trained on; None where no weights are shipped.
    """

    name: str
    version: str
    path: Path
    trained_on: str | None


def shipped_bundles() -> list[ShippedBundle]:
    """All bundles of the package, by name.

    Raises
    ------
    MissingInputError
        If the package was installed without them.
    """
    folders = sorted(path.parents[1] for path in BUNDLES.glob("*/configs/metadata.json"))
    if not folders:
        raise MissingInputError(f"expected bundles in {BUNDLES}, but found none; install the package again")
    return [ShippedBundle(one.name, read_metadata(one)["version"], one, _weights_source(one)) for one in folders]


def copy_bundle(name: str, out: Path) -> Path:
    """Copy a bundle of the package, its weights included, to ``out/name``, to be changed there; that folder.

    What runs left in it (``eval``, ``cache``, converted models, the state to resume from) stays behind.

    Raises
    ------
    InvalidOptionError
        If there is no such bundle, or the folder exists.
    """
    bundles = {bundle.name: bundle for bundle in shipped_bundles()}
    if name not in bundles:
        raise InvalidOptionError(f"there is no bundle {name!r}{near_names(name, bundles)}")
    target = out / name
    if target.exists():
        raise InvalidOptionError(f"{target} exists; remove it, or choose another folder with -o")
    out.mkdir(parents=True, exist_ok=True)
    # Under another name first, so that a killed copy leaves no half of a bundle.
    with tempfile.TemporaryDirectory(dir=out, prefix=f".{name}.", suffix=PARTIAL) as temporary:
        copy = shutil.copytree(bundles[name].path, Path(temporary) / name, ignore=LEFT_BY_RUNS)
        copy.rename(target)
    return target


def _weights_source(bundle: Path) -> str | None:
    return trained_on(bundle) if (bundle / "models" / "model.pt").is_file() else None
