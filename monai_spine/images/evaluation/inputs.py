"""The images that a trained classifier is to look at: a datalist, a folder, a file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from monai_spine.errors import ExitCode, InvalidOptionError, InvalidTableError, MissingInputError, SpineError
from monai_spine.images.data.datalist import UNKNOWN, ImageDatalist, Record, read_image_datalist, split_folds
from monai_spine.images.data.pixels import EXTENSIONS
from monai_spine.images.evaluation.thresholds import thresholds_beside
from monai_spine.images.training.model_description import ModelDescription
from monai_spine.scoring.competition import Floats

logger = logging.getLogger(__name__)

SECTIONS = ("training", "test")


def find_images(source: str | Path, description: ModelDescription, section: str = "test") -> list[Record]:
    """Records of a section of a datalist (a file, or a folder with ``datalist.json``), else of all images in a folder.

    Raises
    ------
    MissingInputError
        If there is no such file or folder, or no image in it.
    InvalidTableError
        If the datalist breaks its format, its section is empty, or an image has not as many files as the classifier
        takes.
    InvalidOptionError
        If there is no such section.
    """
    source = Path(source)
    listed = source if source.suffix == ".json" else source / "datalist.json"
    records = _of_datalist(listed, section) if listed.is_file() else _of_folder(source, description)
    wanted = max(1, len(description.channel_names))
    for record in records:
        if len(record["image"]) != wanted:
            raise InvalidTableError(
                f"{record['image'][0]}: expected {wanted} files an image, as the classifier was trained with, "
                f"but found {len(record['image'])}"
            )
    return records


def labelled(datalist: ImageDatalist, section: str, fold: int) -> list[Record]:
    """Images to evaluate on: the ``validation`` fold of those to train on, or those to ``test``.

    Raises
    ------
    InvalidOptionError
        If the section is neither.
    InvalidTableError
        If it has no image with a label.
    """
    if section not in {"validation", "test"}:
        raise InvalidOptionError(f"expected a section out of validation, test, but found {section!r}")
    records = split_folds(datalist.training, fold)[1] if section == "validation" else datalist.test
    if not any(label != UNKNOWN for record in records for label in _labels(record)):
        raise InvalidTableError(f"there are no images with labels under {section!r} to evaluate on")
    return records


def thresholds_for(weights: str | Path, description: ModelDescription) -> Floats | None:
    """The decision thresholds beside a file of weights; None if an image has one class, which needs none."""
    return thresholds_beside(weights, description.classes) if description.several else None


def _labels(record: Record) -> list[int]:
    label: int | list[int] = record["label"]
    return label if isinstance(label, list) else [label]


def report_refused(refused: Mapping[tuple[str, ...], SpineError], output_dir: str | Path) -> None:
    """End the process with exit code 3 if images were refused, and say where the reasons are."""
    if refused:
        logger.warning("%d images could not be read: %s", len(refused), Path(output_dir) / "refused.csv")
        raise SystemExit(ExitCode.SOME_REFUSED)


def _of_datalist(path: Path, section: str) -> list[Record]:
    if section not in SECTIONS:
        raise InvalidOptionError(f"expected a section out of {', '.join(SECTIONS)}, but found {section!r}")
    datalist = read_image_datalist(path)
    records = datalist.test if section == "test" else datalist.training
    if not records:
        raise InvalidTableError(f"{path} has no images under {section!r}; name the other section with --section")
    return records


def _of_folder(source: Path, description: ModelDescription) -> list[Record]:
    if description.channel_names:
        raise InvalidOptionError(
            f"{source}: this classifier takes a grey file each of {', '.join(description.channel_names)}: give a "
            "datalist, which `python -m data_prep images channels` writes"
        )
    if not source.exists():
        raise MissingInputError(f"expected images, a folder of them or a datalist, but there is no {source}")
    files = [source] if source.is_file() else sorted(source.rglob("*"))
    files = [
        file for file in files if file.name.lower().endswith(EXTENSIONS) and file.is_file() and _seen(file, source)
    ]
    if not files:
        raise MissingInputError(f"{source}: expected images ({', '.join(EXTENSIONS)}), but found none")
    label = [UNKNOWN] * len(description.classes) if description.several else UNKNOWN
    return [{"image": [str(file)], "label": label, "group": str(file), "fold": None} for file in files]


def _seen(file: Path, source: Path) -> bool:
    """Whether it is a file and neither it nor a folder on its way is hidden."""
    inside = file.relative_to(source).parts if file != source else ()
    return file.is_file() and not any(part.startswith(".") for part in inside)
