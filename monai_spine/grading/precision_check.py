"""The comparison behind a precision's gate: the same studies in float32 and in bfloat16, with OpenVINO.

Points and grades of phantoms, whose labels are known, and of further volumes. The result is kept beside the converted
model (`monai_spine.runtime.precision_gate`).
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from monai_spine.bundle.provenance import read_metadata
from monai_spine.bundle.shipped import LEVEL_LOCALIZER, RECESS_LOCALIZER
from monai_spine.console import track
from monai_spine.crops.study import STUDY_IMAGES, StudyImages
from monai_spine.data.datalist import Record
from monai_spine.data.studies import find_study, folder_studies, listed_studies, nifti_files
from monai_spine.errors import InvalidTableError, listed
from monai_spine.grading.converted_grader import converted_model
from monai_spine.grading.grader import Grader
from monai_spine.grading.grader_bundle import GraderFiles
from monai_spine.levels.localizers import LevelLocator, RecessLocator
from monai_spine.levels.located_records import with_points
from monai_spine.levels.merged_volumes import LocatedStudy
from monai_spine.levels.sagittal.maps import Floats as Float32s
from monai_spine.levels.study_search import StudyInput, search
from monai_spine.runtime.choice import Precision, Runtime, RuntimeChoice
from monai_spine.runtime.converted_model import ConvertedModel
from monai_spine.runtime.precision_gate import GateRow, write_gate
from monai_spine.scoring.competition import Floats, competition_score
from monai_spine.scoring.figures import areas
from monai_spine.spine import FINDINGS, Grade, SeriesType

STUDIES = 40
"""Phantoms of a comparison."""
MOST_DIFFERENCE = 0.002
"""Limit for the area under the ROC curve and for the competition's score."""
MOST_MM = 0.1
"""Limit for 99 of 100 points: a fiftieth of the distance within which a slice shows a finding. A point whose map has
two equal peaks may go from one to the other with any change of rounding."""
_SEED = 4107
"""Of phantoms that no training and no other comparison uses."""
_FLOAT32 = RuntimeChoice(Runtime.OPENVINO)
_OTHER = RuntimeChoice(Runtime.OPENVINO, Precision.BFLOAT16)
_OUTPUTS = {8: "levels", 2: "recesses", len(FINDINGS): "grader"}
"""Channels of a network's output, as a bundle's metadata have them, and what the bundle is."""


@dataclass(frozen=True)
class CheckedBundle:
    """The comparison of a bundle, and the files where it is kept; none if no folder could be written."""

    bundle: Path
    rows: tuple[GateRow, ...]
    files: tuple[Path, ...]


def check_precision(
    bundles: Sequence[Path], further: Sequence[Path] = (), *, studies: int = STUDIES, quiet: bool = False
) -> list[CheckedBundle]:
    """Compare bfloat16 with float32 for each bundle, and keep the results.

    Parameters
    ----------
    further
        Folders of NIfTI studies or datalists. Points in them count; they have no labels, so grades do not.
    studies
        The number of phantoms.

    Raises
    ------
    MissingInputError, InvalidTableError, InvalidOptionError
        If a bundle cannot be used, or is neither a localizer nor a grader; or an input cannot be read.
    """
    levels = _Remembering.from_bundle(LEVEL_LOCALIZER, "cpu", runtime=_FLOAT32)
    recesses = RecessLocator.from_bundle(RECESS_LOCALIZER, "cpu", runtime=_FLOAT32)
    comparisons = [_comparison(bundle, levels, recesses) for bundle in bundles]
    real = [record for path in further for record in _further(path)]
    with tempfile.TemporaryDirectory(prefix="phantoms-") as folder:
        records = _records(Path(folder), studies, real)
        for record in track(records, "compare", studies + len(real), quiet):
            shared = {**record, STUDY_IMAGES: StudyImages()}
            located = search(StudyInput.of(record), levels, recesses, shared[STUDY_IMAGES].opened).located
            for comparison in comparisons:
                comparison.add(shared, located)
            levels.forget()
    return [one.kept() for one in comparisons]


class _Remembering(LevelLocator):
    """Runs its network once for each image, though several comparisons search the same study."""

    def maps(self, image: Float32s) -> np.ndarray:
        digest = hashlib.sha256(image.tobytes()).hexdigest()
        if digest not in self._known:
            self._known[digest] = super().maps(image)
        return self._known[digest]

    @cached_property
    def _known(self) -> dict[str, np.ndarray]:
        return {}

    def forget(self) -> None:
        """Before the next study, so that memory stays that of one."""
        self._known.clear()


class _Comparison(Protocol):
    def add(self, record: Record, located: LocatedStudy) -> None:
        """Compare a study; ``located``: its points by the package's localizers in float32."""
        ...

    def kept(self) -> CheckedBundle:
        """Keep the result."""
        ...


def _comparison(bundle: Path, levels: LevelLocator, recesses: RecessLocator) -> _Comparison:
    try:
        channels = read_metadata(bundle)["network_data_format"]["outputs"]["pred"]["num_channels"]
    except (KeyError, TypeError):
        channels = None
    role = _OUTPUTS.get(channels)
    if role == "grader":
        return _GradeComparison(
            bundle,
            Grader.from_bundle(bundle, runtime=_FLOAT32),
            Grader.from_bundle(bundle, runtime=_OTHER, gated=False),
        )
    if role == "levels":
        own = levels if _same(bundle, LEVEL_LOCALIZER) else LevelLocator.from_bundle(bundle, "cpu", runtime=_FLOAT32)
        other = LevelLocator.from_bundle(bundle, "cpu", runtime=_OTHER, gated=False)
        return _PointComparison(bundle, LevelLocator.converted(bundle, _OTHER), (own, recesses), (other, recesses))
    if role == "recesses":
        mine = RecessLocator.from_bundle(bundle, "cpu", runtime=_FLOAT32)
        theirs = RecessLocator.from_bundle(bundle, "cpu", runtime=_OTHER, gated=False)
        return _PointComparison(bundle, RecessLocator.converted(bundle, _OTHER), (levels, mine), (levels, theirs))
    raise InvalidTableError(
        f"{bundle}: expected a localizer or a grader, with {listed([str(n) for n in sorted(_OUTPUTS)])} outputs in its "
        f"metadata, but found {channels}"
    )


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


@dataclass
class _PointComparison:
    """Compares the points of studies, and which of them there are."""

    bundle: Path
    model: ConvertedModel
    float32: tuple[LevelLocator, RecessLocator]
    other: tuple[LevelLocator, RecessLocator]
    moved: list[float] = field(default_factory=list)
    differing: int = 0
    studies: int = 0

    def add(self, record: Record, _: LocatedStudy) -> None:
        study, images = StudyInput.of(record), record[STUDY_IMAGES]
        one, other = (search(study, *pair, images.opened).located for pair in (self.float32, self.other))
        first, second = ({at.key: at for at in each.points} for each in (one, other))
        self.moved += [float(np.linalg.norm(first[key].world - second[key].world)) for key in first.keys() & second]
        flags = ({key: at.flags for key, at in each.items()} for each in (first, second))
        self.differing += next(flags) != next(flags)
        self.studies += 1

    def kept(self) -> CheckedBundle:
        median, usual, most = (float(one) for one in np.quantile(self.moved or [0.0], [0.5, 0.99, 1.0]))
        rows = (
            GateRow(f"{len(self.moved)} points, median distance in mm", None, None, median),
            GateRow("distance that 99 % stay below, in mm", None, None, usual, MOST_MM),
            GateRow("largest distance in mm", None, None, most),
            GateRow(f"of {self.studies} studies, those with other points or flags", None, None, self.differing, 0.5),
        )
        path = write_gate(self.model, Precision.BFLOAT16, rows)
        return CheckedBundle(self.bundle, rows, () if path is None else (path,))


@dataclass
class _GradeComparison:
    """Compares the probabilities of studies: with labels at the marked points, else at the located ones."""

    bundle: Path
    float32: Grader
    other: Grader
    labels: list[Any] = field(default_factory=list)
    rows: tuple[list[Floats], list[Floats]] = field(default_factory=lambda: ([], []))
    largest: float = 0.0

    def add(self, record: Record, located: LocatedStudy) -> None:
        labelled = record.get("label") is not None
        if not labelled and not located.has_points:
            return
        used = record if labelled else with_points(record, located)
        pair = [grader(used).weighted for grader in (self.float32, self.other)]
        self.largest = max(self.largest, float(np.abs(pair[0] - pair[1])[self.float32.graded].max()))
        if labelled:
            self.labels.append(np.where(self.float32.graded, record["label"], -1))
            for rows, own in zip(self.rows, pair, strict=True):
                rows.append(own)

    def kept(self) -> CheckedBundle:
        labels = np.array(self.labels)
        both = [np.stack(rows) for rows in self.rows]
        rows = [_row("competition's score", *(competition_score(labels, one).score for one in both))]
        for lowest in (Grade.MODERATE, Grade.SEVERE):
            scores = [one[..., lowest:].sum(axis=-1) for one in both]
            each = (float(areas(labels, score, lowest, np.ones((1, len(labels))))[0]) for score in scores)
            rows.append(_row(f"AUC of {lowest.column} or worse", *each))
        rows.append(GateRow("largest change of a probability", None, None, self.largest))
        files = GraderFiles.of(self.bundle)
        models = [converted_model(files, weights, _OTHER) for weights in files.weights]
        paths = [write_gate(model, Precision.BFLOAT16, rows) for model in models]
        return CheckedBundle(self.bundle, tuple(rows), tuple(path for path in paths if path is not None))


def _row(figure: str, one: float, other: float) -> GateRow:
    return GateRow(figure, one, other, abs(one - other), MOST_DIFFERENCE)


def _records(folder: Path, studies: int, real: Sequence[Record]) -> Iterator[Record]:
    """Phantoms with labels and points, one after the other on disk, then further studies."""
    for index in range(studies):
        yield _phantom(folder, index)
    for record in real:
        yield {**record, "label": None, "points": {}}


def _further(path: Path) -> list[Record]:
    """The studies of a datalist, of a folder of NIfTI files, or of a folder with a folder for each study."""
    if path.is_file():
        studies = listed_studies(path)
    elif nifti_files(path):
        studies = [find_study(path.resolve().name, nifti_files(path))]
    else:
        studies = folder_studies(path)
    return [one.record for one in studies]


def _phantom(folder: Path, index: int) -> Record:
    import nibabel as nib

    from data_prep.choices import PhantomSize
    from data_prep.phantom.acquire import acquire
    from data_prep.phantom.study import Stream, draw_study, stream

    study = draw_study(_SEED, index, PhantomSize.FULL)
    rng = stream(_SEED, index, Stream.NOISE)
    files: dict[str, list[str]] = {one.value: [] for one in SeriesType}
    for series in study.series:
        for number, stack in enumerate(series.stacks):
            path = folder / f"{series.series_type.value}_{number}.nii"  # the next phantom replaces it
            nib.save(
                nib.Nifti1Image(acquire(study.anatomy, stack.scan, rng).transpose(2, 1, 0), stack.scan.affine), path
            )
            files[series.series_type.value].append(str(path))
    points = {point.finding.name: [float(mm) for mm in point.world] for point in study.points}
    return {"study_id": study.id, **files, "label": study.findings.labels, "points": points}
