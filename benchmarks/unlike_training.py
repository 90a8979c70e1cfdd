"""Which images the grader's flag `unlike_training` finds.

    python benchmarks/unlike_training.py REAL PHANTOM [--others FOLDER…] [-o OUT]

``REAL`` and ``PHANTOM`` are folders as `real_data.py` describes them, or datalists with canal points; the grader's
weights need the file of ``monai-spine training-features``. For both, as they are and changed (the crops of up to 30
studies), it prints the median distance and the share of findings that are flagged; of each patient of ``REAL`` by the
mean and the limit of the others. ``--others`` are NIfTI volumes or folders that show no lumbar spine, or not as usual:
for each, ``predict``'s answer. ``OUT`` gets the tables.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from real_data import Patient, read_patients

from monai_spine.console import track
from monai_spine.crops.view import ABSENT
from monai_spine.data.volume import read_volume
from monai_spine.geometry import Array
from monai_spine.grading.findings import UNLIKE_TRAINING
from monai_spine.grading.grader import Grader
from monai_spine.grading.training_features import TrainingFeatures
from monai_spine.levels.localizers import LevelLocator
from monai_spine.levels.located_records import points_of_findings
from monai_spine.prediction.familiarity import PATIENT_SHARE
from monai_spine.prediction.inputs import Conversion, find_inputs
from monai_spine.prediction.models import open_models
from monai_spine.prediction.run import predict
from monai_spine.spine import Grade, SeriesType

STUDIES = 30


def _metal(image: torch.Tensor) -> torch.Tensor:
    """Signal is lost in a disc of a seventh of each crop, with a bright rim, as around screws."""
    rows, columns = image.shape[-2:]
    radius = torch.hypot(torch.arange(rows)[:, None] - rows / 2, torch.arange(columns)[None] - columns / 2)
    hole = torch.where(radius < rows / 5, torch.zeros(()), image)
    return torch.where((radius >= rows / 5) & (radius < rows / 4.4), torch.ones(()), hole)


# Of crops (studies, levels, slices, rows, columns); slices that are absent stay so.
CHANGES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "as it is": lambda image: image,
    "gamma .7": lambda image: image.clamp(min=0) ** 0.7,
    "a third of the brightness": lambda image: image / 3,
    "noise added (.1)": lambda image: (image + 0.1 * torch.randn(image.shape)).clamp(0, 1),
    "loss of signal in the middle, as by metal": _metal,
    "inverted": lambda image: 1 - image,
    "upside down": lambda image: image.flip(-2),
    "rows and columns exchanged": lambda image: image.transpose(-1, -2),
    "moved by a third of the crop": lambda image: image.roll(image.shape[-2] // 3, -2),
    "noise alone": torch.rand_like,
}


def images_of(patients: Sequence[Patient], locator: LevelLocator, grader: Grader) -> list[torch.Tensor]:
    """The network's input for each patient; points that are not marked are located."""
    images = []
    for patient in track(iter(patients), "crops", len(patients), quiet=False):
        sagittal = [*patient.record[SeriesType.SAGITTAL_T2.value], *patient.record[SeriesType.SAGITTAL_T1.value]]
        spine = locator(read_volume(sagittal[0]), sagittal[0])
        points = {**points_of_findings(spine.points), **patient.points}
        images.append(torch.from_numpy(grader.image({**patient.record, "points": points})))
    return images


@torch.inference_mode()
def features(images: Sequence[torch.Tensor], grader: Grader, change: Callable[[torch.Tensor], torch.Tensor]) -> Array:
    """``(studies, 25, features)`` of changed images."""
    changed = [torch.where(image == ABSENT, image, change(image)) for image in images]
    return np.stack([grader.model.outputs([one])[0][0, :, len(Grade) :].astype(np.float64) for one in changed])


def distances_left_out(familiar: TrainingFeatures, patients: Array, changed: Array) -> Array:
    """``(studies, 25)``: of each changed patient, features ``(studies, 25, …)``, by mean and limit of the others."""
    others = [familiar.of_patients(np.delete(patients, n, axis=0), PATIENT_SHARE) for n in range(len(patients))]
    return np.stack([one.distances(own) for one, own in zip(others, changed, strict=True)])


def answer(path: Path, grader_bundle: Path | None) -> str:
    """What ``predict`` says of an input."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        models = open_models(bundles=[grader_bundle] if grader_bundle else [])
        outcome = predict(find_inputs([path], out, Conversion(quiet=True)), out, models, quiet=True).outcomes[0]
        if outcome.refused:
            return f"refused: {outcome.refused}"
        text = next(out.glob("*/findings.json")).read_text()
        uncertain = "levels uncertain" if "uncertain_level" in text else "levels certain"
        return f"graded; {text.count(UNLIKE_TRAINING)} of 25 findings flagged, {uncertain}"


def main() -> None:
    """Cut, change, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("phantom", type=Path)
    parser.add_argument("--others", type=Path, nargs="*", default=[])
    parser.add_argument("--model", type=Path, default=None, help="a grader's bundle")
    parser.add_argument("-o", "--out", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    grader = Grader.from_bundle(options.model) if options.model else Grader.from_bundle()
    if grader.familiar is None:
        parser.error("the grader's weights have no features; run monai-spine training-features first")
    locator = LevelLocator.from_bundle(None, "cpu")
    sets = [images_of(read_patients(path)[:STUDIES], locator, grader) for path in (options.real, options.phantom)]
    lines = [
        "| images | real: median distance | flagged | phantoms: median distance | flagged |",
        "|---|--:|--:|--:|--:|",
    ]
    patients = features(sets[0], grader, CHANGES["as it is"])
    for name, change in CHANGES.items():
        cells = []
        real, phantoms = (features(images, grader, change) for images in sets)
        for found in (distances_left_out(grader.familiar, patients, real), grader.familiar.distances(phantoms)):
            cells += [f"{np.median(found):.2f}", f"{(found > 1).mean():.0%}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    lines += ["", "| input | answer |", "|---|---|"]
    lines += [f"| {path.name} | {answer(path, options.model)} |" for path in options.others]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "unlike_training.md").write_text(text)


if __name__ == "__main__":
    main()
