"""The images to evaluate or classify: those of a datalist, of a folder, or a single file."""

import logging
from collections.abc import Mapping
from pathlib import Path

from monai_spine.errors import ExitCode, InvalidOptionError, InvalidTableError, MissingInputError, SpineError, counted
from monai_spine.images.data.datalist import UNKNOWN, Record, read_image_datalist
from monai_spine.images.data.fold import ImageFold
from monai_spine.images.data.pixels import EXTENSIONS
from monai_spine.images.evaluation.decision_thresholds import thresholds_beside
from monai_spine.images.network.model_description import ClassifierDescription
from monai_spine.scoring.competition import Floats

logger = logging.getLogger(__name__)

SECTIONS = ("training", "test")


def find_images(source: str | Path, description: ClassifierDescription, section: str = "test") -> list[Record]:
    """The records to classify.

    ``source``: a datalist, a folder with ``datalist.json``, a folder of images (searched in depth), or an image.
    ``section``: ``training`` or ``test``, for a datalist.
    Raises `MissingInputError` if there is no such file or folder, or no image in it.
    Raises `InvalidTableError` if the datalist breaks its format, its section is empty, or an image has another number
    of files than the classifier expects.
    Raises `InvalidOptionError` if there is no such section.
    """
    source = Path(source)
    datalist = source if source.suffix == ".json" else source / "datalist.json"
    records = _of_datalist(datalist, section) if datalist.is_file() else _of_folder(source, description)
    # Another number of files would make another number of channels, and fail only in the network.
    files = max(1, len(description.channel_names))
    for record in records:
        if len(record["image"]) != files:
            raise InvalidTableError(
                f"{record['image'][0]}: expected {counted(files, 'file')} an image, as the classifier "
                f"was trained with, "
                f"but found {len(record['image'])}"
            )
    return records


def labelled_images(images: ImageFold, section: str) -> list[Record]:
    """The images to evaluate: the fold of the training section (``validation``), or the ``test`` section.

    Raises `InvalidOptionError` if the section is neither of these.
    Raises `InvalidTableError` if it has no image with a label.
    """
    if section not in {"validation", "test"}:
        raise InvalidOptionError(f"expected a section out of validation, test, but found {section!r}")
    records = images.validation if section == "validation" else images.datalist.test
    if not any(label != UNKNOWN for record in records for label in _labels(record)):
        raise InvalidTableError(f"there are no images with labels under {section!r} to evaluate on")
    return records


def thresholds_for(weights: str | Path, description: ClassifierDescription) -> Floats | None:
    """The decision thresholds beside a file of weights; None if an image has one class, which needs none."""
    return thresholds_beside(weights, description.classes) if description.multilabel else None


def report_refused(refused: Mapping[tuple[str, ...], SpineError], output_dir: str | Path) -> None:
    """If images were refused, log where the reasons are, and end the process with exit code 3."""
    if refused:
        logger.warning("%s could not be read: %s", counted(len(refused), "image"), Path(output_dir) / "refused.csv")
        raise SystemExit(ExitCode.SOME_REFUSED)


def _labels(record: Record) -> list[int]:
    label: int | list[int] = record["label"]
    return label if isinstance(label, list) else [label]


def _of_datalist(path: Path, section: str) -> list[Record]:
    if section not in SECTIONS:
        raise InvalidOptionError(f"expected a section out of {', '.join(SECTIONS)}, but found {section!r}")
    datalist = read_image_datalist(path)
    records = datalist.test if section == "test" else datalist.training
    if not records:
        raise InvalidTableError(f"{path} has no images under {section!r}; name the other section with --section")
    return records


def _of_folder(source: Path, description: ClassifierDescription) -> list[Record]:
    if description.channel_names:
        raise InvalidOptionError(
            f"{source}: this classifier needs a grey file for each of {', '.join(description.channel_names)}: give a "
            "datalist, which `python -m data_prep images channels` writes"
        )
    if not source.exists():
        raise MissingInputError(f"expected images, a folder of them or a datalist, but there is no {source}")
    files = [source] if source.is_file() else sorted(source.rglob("*"))
    files = [file for file in files if file.name.lower().endswith(EXTENSIONS) and _is_visible_file(file, source)]
    if not files:
        raise MissingInputError(f"{source}: expected images ({', '.join(EXTENSIONS)}), but found none")
    label = [UNKNOWN] * len(description.classes) if description.multilabel else UNKNOWN
    return [{"image": [str(file)], "label": label, "group": str(file), "fold": None} for file in files]


def _is_visible_file(file: Path, source: Path) -> bool:
    """Whether it is a file, and neither it nor a folder between the source and it is hidden."""
    # Folders that were copied from a Mac have a hidden ``._name.png``, which is no image, beside every image.
    inside = file.relative_to(source).parts if file != source else ()
    return file.is_file() and not any(part.startswith(".") for part in inside)
