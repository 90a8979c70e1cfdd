"""Small bundles with random weights, and studies whose levels are known, for tests of ``predict``."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from monai_spine.bundle.configuration import EvaluatedConfiguration
from monai_spine.bundle.model_description import ModelDescription, write_description
from monai_spine.bundle.model_settings import describe
from monai_spine.grading.grader import Grader
from monai_spine.levels.merged_volumes import LocatedStudy
from monai_spine.levels.sagittal.points import LevelPoint, Structure
from monai_spine.prediction.inputs import Inputs
from monai_spine.prediction.models import Models
from monai_spine.prediction.pending_study import PendingStudy
from monai_spine.spine import MISSING, TARGETS, Level, SeriesType
from tests.monai_spine.levels.test_locate import SPINE, Oracle, axial, foramina, sagittal

BUNDLES = Path(__file__).parents[3] / "bundles"
SMALL = {
    "lumbar_25d_grader": {"pixels": [32, 32], "network_def#features": 16},
    "lumbar_unet_classifier": {
        "grid_size": [4, 16, 24],
        "grid_step": [12.0, 8.0, 6.0],
        "network_def#channels": [4, 8],
        "network_def#strides": [2, 2],
    },
}


def write_bundle(folder: Path, *files: str, kind: str = "lumbar_25d_grader", seed: int = 0) -> Path:
    """A shrunk copy of a shipped bundle, with random weights that say different things of different images."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    parser = ConfigParser()
    parser.read_config(str(BUNDLES / kind / "configs" / "inference.json"))
    parser.update(SMALL[kind])
    (folder / "configs" / "inference.json").write_text(json.dumps(parser.get()))
    (folder / "configs" / "metadata.json").write_text(json.dumps({"trained_on": "phantom"}))
    for n, file in enumerate(files or ("model.pt",)):
        torch.manual_seed(seed + n)
        fresh = ConfigParser(parser.get())
        torch.save(fresh.get_parsed_content("network_def").state_dict(), folder / "models" / file)
        write_description(folder / "models" / file, described(folder))
    return folder


def described(bundle: Path) -> ModelDescription:
    """The description of weights that a bundle's ``inference.json`` fits."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    return describe(EvaluatedConfiguration(parser, bundle / "configs"))


def write_study(folder: Path, *, t1: bool = True, ax: bool = True) -> Path:
    """Noise around `SPINE`, in volumes of a common size: axial slices from L3/L4 downwards."""
    sagittal(folder / "sagittal_t2.nii.gz")
    if t1:
        shutil.copy(folder / "sagittal_t2.nii.gz", folder / "sagittal_t1.nii.gz")
    if ax:
        axial(folder / "axial_t2.nii.gz", SPINE[-2:].mean(axis=0), slices=16)
    return folder


def points_of_spine() -> dict[str, tuple[float, float, float]]:
    """Canal, foramina and places of the recesses of the five levels, by the findings' names."""
    sides = foramina(SPINE).reshape(-1, 2, 3)[1:]
    points = {}
    for n, level in enumerate(Level):
        points[f"spinal_canal_stenosis_{level.value}"] = SPINE[n + 1]
        for m, side in enumerate(("left", "right")):
            points[f"{side}_neural_foraminal_narrowing_{level.value}"] = sides[n, m]
            points[f"{side}_subarticular_stenosis_{level.value}"] = (SPINE[n + 1] + sides[n, m]) / 2
    return {name: tuple(float(mm) for mm in place) for name, place in points.items()}


def record_of(folder: Path, points: dict | None = None) -> dict:
    """A record as `monai_spine.data.datalist` makes it."""
    series = {kind.value: [str(file) for file in sorted(folder.glob(f"{kind.value}*"))] for kind in SeriesType}
    label = np.full(len(TARGETS), MISSING, dtype=np.int64)
    return {
        "study_id": folder.name,
        "patient_id": folder.name,
        "fold": None,
        "label": label,
        "points": points or {},
    } | series


def mirror_study(folder: Path, target: Path) -> Path:
    """The same voxels in a world whose left and right are exchanged."""
    target.mkdir(parents=True)
    for file in folder.glob("*.nii.gz"):
        image = nib.load(file)
        nib.save(
            nib.Nifti1Image(np.asarray(image.dataobj), np.diag([-1.0, 1, 1, 1]) @ image.affine), target / file.name
        )
    return target


def oracle(*folders: Path) -> Oracle:
    """A localizer that knows where `SPINE` lies in the sagittal volumes of studies."""
    return Oracle().know(*(file for folder in folders for file in sorted(folder.glob("sagittal*"))))


def models(levels: Oracle, *graders: Grader) -> Models:
    return Models(levels, None, graders, {one.name: one.trained_on for one in graders}, "localizer")


def inputs(*folders: Path) -> Inputs:
    return Inputs(tuple(PendingStudy(record_of(folder)) for folder in folders))


def located(points: Iterable[tuple[Structure, Level, object]] = ()) -> LocatedStudy:
    found = tuple(LevelPoint(kind, level, side, np.zeros(3), 0.5) for kind, level, side in points)
    return LocatedStudy("s", found, (), {}, {})


def write_object(path: Path, manufacturer: str) -> None:
    """Write a small DICOM object."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = MRImageStorage
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    made.Manufacturer, made.PatientName = manufacturer, "Mustermann^Erika"
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
