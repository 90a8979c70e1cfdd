"""The contact sheet of an audit: one HTML file with a card and a picture for each suspect label.

A picture is a slice around the finding's point, as radiologists view it: sagittal slices have anterior on the left,
axial ones anterior on top. The file holds its pictures, so it can be opened without a network.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image, ImageDraw
from scipy.ndimage import map_coordinates

from monai_spine import __version__
from monai_spine.bundle.provenance import RESEARCH
from monai_spine.console import track
from monai_spine.data.volume import WINDOW, Volume, open_volume, read_volume, slice_geometry
from monai_spine.errors import SpineError
from monai_spine.geometry import Array, Plane, plane_distance, plane_of, slice_normal, to_voxel, to_world
from monai_spine.spine import Grade
from monai_spine.tables.suspects import Suspect, ThresholdRow

NO_DATALIST = "pictures need --datalist"

SIDE_MM = 70.0
SIDE_PIXELS = 240
"""Side of a picture."""
_NEAREST_MM = 6.0
"""The largest distance from a slice at which a point is still shown on it."""
_RING_PIXELS = 34

_SCREEN = {
    Plane.SAGITTAL: ([0.0, -1.0, 0.0], [0.0, 0.0, -1.0]),
    Plane.AXIAL: ([-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]),
    Plane.CORONAL: ([-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]),
}
"""RAS directions to the right and down on the screen, as radiologists view images: the patient's right is left."""


class NoPictureError(SpineError):
    """There is no slice to show; the message says why."""


@dataclass(frozen=True)
class Card:
    """A suspect with its picture in a ``data:`` address, or with the reason why it has none."""

    suspect: Suspect
    picture: str
    reason: str


def cards(
    suspects: Sequence[Suspect], entries: Mapping[str, Mapping[str, Any]], folder: Path, quiet: bool
) -> list[Card]:
    """A card for each suspect.

    ``entries``: of a datalist, by study, with paths relative to ``folder``; empty without a datalist.
    """
    return [_card(one, entries, folder) for one in track(suspects, "pictures", len(suspects), quiet)]


def contact_sheet(  # noqa: PLR0917 - what the page shows
    shown: Sequence[Card],
    suspects: int,
    threshold: float,
    table: Sequence[ThresholdRow],
    studies: int,
    labels: int,
    *,
    warning: str = "",
) -> str:
    """The HTML of the page.

    ``suspects``, ``studies``, ``labels``: how many there are in all.
    ``warning``: stands at the top.
    """
    environment = Environment(
        loader=PackageLoader("monai_spine.tables"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("audit_sheet.html").render(
        cards=shown,
        suspects=suspects,
        threshold=threshold,
        table=table,
        studies=studies,
        labels=labels,
        warning=warning,
        grades=list(Grade),
        groups=list(table[0].of_group),
        disclaimer=RESEARCH,
        version=__version__,
    )


def nearest_volume(paths: Sequence[Path], point: Sequence[float]) -> Path:
    """The volume with a slice nearest to a point in RAS mm.

    Raises `NoPictureError` if there is no volume, none can be read, or the nearest slice is more than 6 mm away.
    """
    if not paths:
        raise NoPictureError("no such series in the datalist")
    distances: dict[Path, float] = {}
    for path in paths:
        try:
            image = open_volume(path)
        except SpineError:
            continue
        distances[path] = float(plane_distance(*slice_geometry(image), point))
    if not distances:
        raise NoPictureError("the volume is not there or cannot be read")
    best = min(distances, key=lambda path: distances[path])
    if distances[best] > _NEAREST_MM:
        raise NoPictureError(f"the nearest slice is {distances[best]:.0f} mm away")
    return best


def slice_picture(volume: Volume, point: Sequence[float]) -> Image.Image:
    """70 × 70 mm of the slice nearest to a point in RAS mm, with a ring around the point; black outside the volume."""
    right, down = _screen_directions(volume.affine)
    steps = (np.arange(SIDE_PIXELS) - (SIDE_PIXELS - 1) / 2) * SIDE_MM / SIDE_PIXELS
    middle = _on_slice(volume, point)
    world = middle + steps[None, :, None] * right + steps[:, None, None] * down
    # Linear interpolation: the picture is for people, and the slice is not resampled across slices.
    pixels = map_coordinates(volume.voxels, np.moveaxis(to_voxel(volume.affine, world), -1, 0), order=1, cval=0.0)
    picture = Image.fromarray(_windowed(pixels)).convert("RGB")
    half = SIDE_PIXELS / 2
    ring = (half - _RING_PIXELS, half - _RING_PIXELS, half + _RING_PIXELS, half + _RING_PIXELS)
    ImageDraw.Draw(picture).ellipse(ring, outline=(255, 196, 64), width=1)
    return picture


def picture_of_files(paths: Sequence[Path], point: Sequence[float]) -> str:
    """The picture from the volume with the slice nearest to the point, as JPEG in a ``data:`` address for HTML.

    Raises `NoPictureError` if there is no slice to show.
    """
    path = nearest_volume(paths, point)
    try:
        picture = slice_picture(read_volume(path), point)
    except SpineError as err:
        raise NoPictureError("the volume cannot be read") from err
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _card(one: Suspect, entries: Mapping[str, Mapping[str, Any]], folder: Path) -> Card:
    if one.study_id not in entries:
        return Card(one, "", NO_DATALIST)
    entry = entries[one.study_id]
    point = entry.get("points", {}).get(one.finding.name)
    if point is None:
        return Card(one, "", "no point in the datalist")
    files = [folder / file for file in entry.get(one.finding.condition.series_type.value, [])]
    try:
        return Card(one, picture_of_files(files, point), "")
    except NoPictureError as reason:
        return Card(one, "", str(reason))


def _screen_directions(affine: Array) -> tuple[Array, Array]:
    """Unit vectors within the slice, to the right and down on the screen.

    A slice may be tilted, so the RAS directions are projected onto it, and the second one is made orthogonal.
    """
    normal = slice_normal(affine)
    right, down = (np.asarray(direction) for direction in _SCREEN[plane_of(affine)])
    right = right - (right @ normal) * normal
    right = right / np.linalg.norm(right)
    down = down - (down @ normal) * normal - (down @ right) * right
    return right, down / np.linalg.norm(down)


def _on_slice(volume: Volume, point: Sequence[float]) -> Array:
    """The point moved along the normal onto the nearest slice."""
    position = np.asarray(point, dtype=np.float64)
    normal = slice_normal(volume.affine)
    k = np.clip(np.round(to_voxel(volume.affine, position)[2]), 0, volume.voxels.shape[2] - 1)
    corner = to_world(volume.affine, [0, 0, k])
    return np.asarray(position - ((position - corner) @ normal) * normal)


def _windowed(pixels: np.ndarray) -> np.ndarray:
    """Grey values as bytes, by `WINDOW`, of the picture without its black outside."""
    low, high = np.percentile(pixels[pixels != 0], WINDOW) if (pixels != 0).any() else (0.0, 1.0)
    return np.asarray(np.clip((pixels - low) / max(high - low, 1e-6), 0, 1) * 255, dtype=np.uint8)
