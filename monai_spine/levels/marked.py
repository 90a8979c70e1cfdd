"""Points that a person marked or corrected, in the place of those of the localizers: ``predict --points``.

The marked canal places the levels. Foramina and recesses that are not marked follow from it, as for located discs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from monai_spine.data.corrections import Corrections
from monai_spine.data.volume import Opener, open_unpacked, read_volume
from monai_spine.errors import InvalidTableError, listed
from monai_spine.geometry import Array, contains
from monai_spine.levels.localizers import RecessLocator
from monai_spine.levels.merged_volumes import LocatedStudy, point_order
from monai_spine.levels.recesses.planes import Detection, RecessPlane, axial_grids, recesses_of
from monai_spine.levels.recesses.tasks import discs_at
from monai_spine.levels.sagittal.chain import expected_foramen
from monai_spine.levels.sagittal.doubts import Flag
from monai_spine.levels.sagittal.grid import sagittal_grid
from monai_spine.levels.sagittal.maps import Floats
from monai_spine.levels.sagittal.points import FINDING_OF, OUT_OF_VIEW, Absent, Key, LevelPoint, Structure
from monai_spine.levels.study_search import SearchResult, StudyInput, volume_reason
from monai_spine.spine import Level, Side

MARKED = "marked"
"""Flag of a point that a person marked or corrected."""
_BY_LABEL = {key.label: key for key in FINDING_OF}
_BY_FINDING = {finding.name: key for key, finding in FINDING_OF.items()}


def read_markups(path: Path) -> dict[Key, Array]:
    """The points of a 3D Slicer file such as ``points.mrk.json``, RAS mm, by the labels that `locate` gives them.

    Control points without a position are left out.
    Raises `InvalidTableError` if the file is no such file, or a label names no point or is there twice.
    """
    points: dict[Key, Array] = {}
    faults = []
    try:
        for markup in json.loads(path.read_text(encoding="utf-8"))["markups"]:
            # Slicer writes LPS unless the user chooses RAS.
            signs = {"RAS": (1, 1, 1), "LPS": (-1, -1, 1)}[markup.get("coordinateSystem", "LPS")]
            for control in markup["controlPoints"]:
                if control.get("positionStatus", "defined") != "defined":
                    continue
                key = _BY_LABEL.get(" ".join(control["label"].split()))
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


def marked_points(positions: Mapping[Key, Array]) -> dict[Key, LevelPoint]:
    """Points that a person marked, RAS mm, as `place` takes them."""
    return {key: LevelPoint(*key, world, 1.0, (MARKED,)) for key, world in positions.items()}


def corrected_points(corrections: Corrections) -> dict[Key, LevelPoint]:
    """All points of a study after its corrections; those that nobody touched keep their confidence and flags."""
    points = {}
    for name, one in corrections.state.points.items():
        key, world = _BY_FINDING[name], np.array(one.position)
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
        except Exception as error:  # nibabel raises anything on damaged files; the study has others
            volumes[name] = volume_reason(error, name, path)
    placed = dict(points)
    discs = discs_at({key.level: one.world for key, one in placed.items() if key.structure is Structure.CANAL})
    absent = [Absent(Structure.CANAL, level, None, "not marked") for level in Level if level not in discs]
    for level, disc in discs.items():
        for side in Side:
            world = expected_foramen(disc, side)
            key = Key(Structure.FORAMEN, level, side)
            if key in placed:
                continue
            if any(contains(affine, tuple(image.shape), world) for image, affine in images.values()):
                placed[key] = LevelPoint(*key, world, 0.0, (Flag.INTERPOLATED.value,))
            else:
                absent.append(Absent(*key, OUT_OF_VIEW))
    paths = study.named(study.axial)
    axial = axial_grids(paths, opened)

    def detect(level: Level, plane: RecessPlane) -> Mapping[Side, Detection]:
        marked = all(Key(Structure.RECESS, level, side) in placed for side in Side)
        return recesses(plane, paths[plane.name], opened) if recesses and not marked else {}

    located = recesses_of(discs.items(), axial, detect)
    placed = {point.key: point for point in located.points} | placed
    absent += [one for one in located.absent if one.key not in placed]
    ordered = tuple(sorted(placed.values(), key=point_order))
    return SearchResult(LocatedStudy(study.study, ordered, tuple(absent), volumes, located.planes), images, axial)
