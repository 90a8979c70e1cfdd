"""Points that a person marked or corrected, in the place of those of the localizers: ``predict --points``.

The marked canal places the levels. Foramina and recesses that are not marked follow from it, as for located discs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from monai_spine.data.corrections import Corrections
from monai_spine.data.coverage import PLANE_LIMIT_MM
from monai_spine.data.volume import Opener, open_unpacked, read_volume
from monai_spine.errors import InvalidTableError, listed
from monai_spine.geometry import Array, contains
from monai_spine.levels.localizers import RecessLocator
from monai_spine.levels.recesses.planes import recess_plane, recess_points
from monai_spine.levels.recesses.tasks import discs_at
from monai_spine.levels.sagittal.chain import Flag, expected_foramen
from monai_spine.levels.sagittal.grid import sagittal_grid
from monai_spine.levels.sagittal.maps import Floats
from monai_spine.levels.sagittal.points import OUT_OF_VIEW, Absent, Key, LevelPoint, PointKind
from monai_spine.levels.search import SearchResult, StudyInput, volume_reason
from monai_spine.levels.study import LocatedStudy, axial_grids, point_order
from monai_spine.spine import FINDINGS, Finding, Group, Level, Side

MARKED = "marked"
"""Flag of a point that a person marked or corrected."""
_KINDS = {Group.SPINAL: PointKind.CANAL, Group.FORAMINAL: PointKind.FORAMEN, Group.SUBARTICULAR: PointKind.RECESS}
_TITLES = {level.title: level for level in Level}


def read_markups(path: Path) -> dict[Key, Array]:
    """The points of a 3D Slicer file such as ``points.mrk.json``, RAS mm, by the labels that `locate` gives them.

    Control points without a position are left out.
    Raises `InvalidTableError` if the file is no such file, or a label names no point or is there twice.
    """
    points: dict[Key, Array] = {}
    faults = []
    try:
        for markup in json.loads(path.read_text(encoding="utf-8"))["markups"]:
            # Slicer writes LPS unless it is told otherwise.
            signs = {"RAS": (1, 1, 1), "LPS": (-1, -1, 1)}[markup.get("coordinateSystem", "LPS")]
            for control in markup["controlPoints"]:
                if control.get("positionStatus", "defined") != "defined":
                    continue
                key = _key(control["label"])
                if key is None:
                    faults.append(f"{control['label']!r} names no point, such as 'foramen L4/L5 left'")
                elif key in points:
                    faults.append(f"{control['label']!r} is there twice")
                else:
                    points[key] = np.array(control["position"], dtype=np.float64).reshape(3) * signs
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise InvalidTableError(f"{path}: expected markups of 3D Slicer with control points ({err})") from err
    if faults:
        raise InvalidTableError(f"{path}: {listed(faults, separator='; ')}")
    return points


def _key(label: str) -> Key | None:
    """A point by its label, such as ``canal L4/L5`` or ``recess L5/S1 right``."""
    words = label.split()
    kinds, sides = [kind.value for kind in PointKind], [side.value for side in Side]
    if not 2 <= len(words) <= 3 or words[0] not in kinds or words[1] not in _TITLES:
        return None
    kind = PointKind(words[0])
    if (kind is PointKind.CANAL) == (len(words) == 3) or (len(words) == 3 and words[2] not in sides):
        return None
    return kind, _TITLES[words[1]], Side(words[2]) if len(words) == 3 else None


def key_of(finding: Finding) -> Key:
    """The point of a finding."""
    return _KINDS[finding.condition.group], finding.level, finding.condition.side


_BY_NAME = {finding.name: key_of(finding) for finding in FINDINGS}


def marked_points(positions: Mapping[Key, Array]) -> dict[Key, LevelPoint]:
    """Points that a person marked, RAS mm, as `place` takes them."""
    return {key: LevelPoint(*key, world, 1.0, (MARKED,)) for key, world in positions.items()}


def corrected_points(corrections: Corrections) -> dict[Key, LevelPoint]:
    """All points of a study after its corrections; those that nobody touched keep their confidence and flags."""
    points = {}
    for name, one in corrections.state.points.items():
        key, world = _BY_NAME[name], np.array(one.position)
        own = (1.0, (MARKED,)) if one.by_person else (1.0 if one.confidence is None else one.confidence, one.flags)
        points[key] = LevelPoint(*key, world, *own)
    return points


def place(
    study: StudyInput,
    points: Mapping[Key, LevelPoint],
    recesses: RecessLocator | None = None,
    opened: Opener = open_unpacked,
) -> SearchResult:
    """The points of a study by those of its levels that are known, with the images to draw them in.

    Parameters
    ----------
    points
        Marked ones (`marked_points`), and those that a person left where they were (`corrected_points`).
    recesses
        Finds recesses that are not among the points in axial slices; without it they are projected.
    """
    images: dict[str, tuple[Floats, Array]] = {}
    volumes = dict(study.refused)
    for name, path in study.named(study.sagittal).items():
        try:
            images[name] = sagittal_grid(read_volume(path, opened), name)
            volumes[name] = "found"
        except Exception as error:
            volumes[name] = volume_reason(error, name, path)
    placed = dict(points)
    discs = discs_at({level: one.world for (kind, level, _), one in placed.items() if kind is PointKind.CANAL})
    absent = [Absent(PointKind.CANAL, level, None, "not marked") for level in Level if level not in discs]
    for level, disc in discs.items():
        for side in Side:
            world = expected_foramen(disc, side)
            key = (PointKind.FORAMEN, level, side)
            if key in placed:
                continue
            if any(contains(affine, tuple(image.shape), world) for image, affine in images.values()):
                placed[key] = LevelPoint(*key, world, 0.0, (Flag.INTERPOLATED.value,))
            else:
                absent.append(Absent(*key, OUT_OF_VIEW))
    paths = study.named(study.axial)
    axial = axial_grids(paths, opened)
    planes = {level: plane for level, disc in discs.items() if (plane := recess_plane(disc, axial)) is not None}
    for level in discs:
        if level not in planes:
            reason = f"no axial plane within {PLANE_LIMIT_MM:g} mm of {level.title}" if axial else "no axial series"
            absent += [
                Absent(PointKind.RECESS, level, side, reason)
                for side in Side
                if (PointKind.RECESS, level, side) not in placed
            ]
            continue
        plane = planes[level]
        known = all((PointKind.RECESS, level, side) in placed for side in Side)
        detections = recesses(plane, paths[plane.name], opened) if recesses and not known else {}
        for point in recess_points(level, plane, detections):
            placed.setdefault((point.kind, point.level, point.side), point)
    ordered = tuple(sorted(placed.values(), key=point_order))
    shown = {level: (plane.name, plane.k, plane.distance) for level, plane in planes.items()}
    return SearchResult(LocatedStudy(study.study, ordered, tuple(absent), volumes, shown), images, axial)
