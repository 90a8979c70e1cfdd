"""The poses of test-time augmentation, by the names of ``--tta``."""

from __future__ import annotations

from collections.abc import Sequence

from monai_spine.crops.augmentation import FixedPose
from monai_spine.errors import InvalidOptionError, listed

CHANGES: dict[str, tuple[FixedPose, ...]] = {
    "flip": (FixedPose(flipped=True),),
    "rotations": (FixedPose(rotation=-8.0), FixedPose(rotation=8.0)),
    "scales": (FixedPose(scale=1 / 1.08), FixedPose(scale=1.08)),
}
"""By the names of ``--tta``, what each adds to the study as it is: two thirds of the shipped training's limits."""


def parse_tta(words: str | Sequence[str]) -> tuple[str, ...]:
    """Names from ``flip,rotations,scales``, or from a sequence of words; none from an empty one.

    MONAI's command line makes a tuple of words that are joined by commas. Raises `InvalidOptionError` if a name is
    unknown, or if it is no text.
    """
    parts = words.split(",") if isinstance(words, str) else words if isinstance(words, list | tuple) else [words]
    names = tuple(dict.fromkeys(part for part in (str(part).strip() for part in parts) if part))
    if not set(names) <= set(CHANGES):
        found = words if isinstance(words, str) else ",".join(map(str, parts))
        raise InvalidOptionError(
            f"expected --tta out of {listed(list(CHANGES))}, joined by commas, but found {found!r}"
        )
    return names


def poses(names: Sequence[str]) -> list[FixedPose]:
    """The poses in which a study is graded, itself first; with ``flip``, each also flipped."""
    upright = [FixedPose(), *(pose for name in names if name != "flip" for pose in CHANGES[name])]
    mirrored = [FixedPose(rotation=one.rotation, scale=one.scale, flipped=True) for one in upright]
    return upright + (mirrored if "flip" in names else [])
