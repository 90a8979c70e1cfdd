"""The parts of a grader's bundle: configuration, presets, files of weights, and preprocessing for a flipped study."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose

from monai_spine.bundle.errors import explanation
from monai_spine.bundle.model_description import ModelDescription, read_description
from monai_spine.bundle.model_settings import followed
from monai_spine.bundle.process import has_bfloat16, quiet_readers
from monai_spine.bundle.provenance import read_metadata
from monai_spine.bundle.run import offered_presets, preset_file
from monai_spine.crops.study import StudyCrops
from monai_spine.crops.view import View
from monai_spine.data.datalist import Record
from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError, SpineError, listed
from monai_spine.spine import FINDINGS
from monai_spine.transforms.level_crops import LevelCropsd, LevelStackd

_REQUIRED = ("network_def", "preprocessing", "postprocessing")
_OPTIONAL = ("inferer", "conditions")


def weight_files(bundle: Path, weights: Path | None = None) -> list[Path]:
    """The files of weights: all ``fold_*.pt`` of the folder, or else ``model.pt``.

    Parameters
    ----------
    weights
        A file, or another folder than the bundle's ``models``.

    Raises
    ------
    MissingInputError
        If there are none. The message has the file and the command that trains it.
    """
    source = weights if weights is not None else bundle / "models"
    if source.is_file():
        return [source]
    # By length first, so that fold_10 comes after fold_9.
    files = sorted(source.glob("fold_*.pt"), key=lambda file: (len(file.name), file.name)) or [source / "model.pt"]
    if not files[0].is_file():
        raise MissingInputError(
            f"expected weights of {bundle.resolve().name}, but there is no file {files[0]}; train them: "
            f"python -m monai.bundle run training --config_file {bundle / 'configs/train.json'} "
            f"--bundle_root {bundle} --dataset_dir DATA, or name others with --weights"
        )
    return files


def check_is_grader(bundle: Path) -> None:
    """Make sure that a bundle's network has the outputs of a grader, if the metadata say what outputs it has.

    Raises
    ------
    InvalidTableError
        If it has others.
    """
    content = read_metadata(bundle)
    try:
        channels = content["network_data_format"]["outputs"]["pred"]["num_channels"]
    except (KeyError, TypeError):
        return
    if channels != len(FINDINGS):
        raise InvalidTableError(
            f"{bundle}: expected a grader, which has {len(FINDINGS)} outputs, but found {channels} in its metadata"
        )


def common_description(files: Sequence[Path]) -> ModelDescription:
    """The description of files of weights, which are used together.

    Raises
    ------
    MissingInputError, InvalidTableError
        See `read_description`.
    InvalidOptionError
        If they were trained with different settings.
    """
    first, *others = (read_description(file) for file in files)
    for file, other in zip(files[1:], others, strict=True):
        differing = [
            name
            for name in sorted({*first.settings, *other.settings})
            if first.settings.get(name) != other.settings.get(name)
        ]
        if differing:
            raise InvalidOptionError(
                f"{file} was trained with another {differing[0]} than {files[0]}; give each as a --model of its own, "
                "with its --weights"
            )
    return first


def config_files(bundle: Path, presets: Sequence[str] = ()) -> list[Path]:
    """``configs/inference.json``, and the presets that change it: names of the bundle's presets, or files.

    Raises
    ------
    MissingInputError
        If one of them does not exist.
    """
    folder = bundle / "configs"
    config = folder / "inference.json"
    if not config.is_file():
        raise MissingInputError(f"expected a bundle, but there is no {config}; name its folder with --model")
    files = [preset_file(folder, Path(preset)) for preset in presets]
    absent = [file for file in files if not file.is_file()]
    if absent:
        raise MissingInputError(f"expected a configuration at {absent[0]}{offered_presets(folder, absent[0])}")
    return [config, *files]


def parsed_parts(
    configs: Sequence[Path], bundle: Path, device: torch.device, *, description: ModelDescription, weights: Path
) -> dict[str, Any]:
    """``network_def``, ``preprocessing``, ``postprocessing``, and if there are any ``inferer`` and ``conditions``.

    Parameters
    ----------
    description
        Of the weights. Their settings are taken over.
    weights
        The described file, for messages.

    Raises
    ------
    InvalidTableError
        If one of them is missing or cannot be built.
    InvalidOptionError
        If a preset does not fit the weights; see `followed`.
    """
    quiet_readers()
    parser = ConfigParser()
    names = " with ".join(str(config) for config in configs)
    try:
        parser.read_config([str(config) for config in configs])
        absent = [key for key in _REQUIRED if key not in parser]
        if absent:
            raise InvalidTableError(f"{names}: expected a grader's configuration, but it has no {listed(absent)}")
        parser.update(followed(parser.get(), ConfigParser.load_config_file(configs[0]), description, weights))
        parser.update({"bundle_root": str(bundle), "device": f"$torch.device('{device}')"})
        if "amp" in parser:
            # On a CPU, predictions stay in float32, so that they do not depend on the processor's bfloat16.
            parser["amp"] = has_bfloat16(device)
        keys = [*_REQUIRED, *(key for key in _OPTIONAL if key in parser)]
        return {key: parser.get_parsed_content(key) for key in keys}
    except SpineError:
        raise
    except Exception as err:  # MONAI's parser raises errors of many kinds
        raise InvalidTableError(f"{names}: {explanation(err) or _last_line(err)}") from err


def crops_of(preprocessing: Callable[..., Any], record: Record) -> tuple[StudyCrops, ...]:
    """The crops that a preprocessing cuts out of a study, without their pixels; none if it has no `LevelCropsd`.

    Raises
    ------
    InvalidVolumeError, MissingInputError
        If a volume cannot be used.
    """
    transforms = Compose([preprocessing]).flatten().transforms
    return tuple(one.study(record) for one in transforms if isinstance(one, LevelCropsd))


def stacked_views(preprocessing: Callable[..., Any]) -> tuple[View, ...]:
    """The views that a preprocessing cuts and joins to one image, in the order of the slices; none without crops."""
    transforms = Compose([preprocessing]).flatten().transforms
    views = {view.name: view for one in transforms if isinstance(one, LevelCropsd) for view in one.views}
    return tuple(views[str(name)] for one in transforms if isinstance(one, LevelStackd) for name in one.keys)


def digest_of(files: Sequence[Path]) -> str:
    """SHA-256 of the joined contents of files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _last_line(err: BaseException) -> str:
    while err.__cause__ is not None:
        err = err.__cause__
    lines = str(err).strip().splitlines()
    return lines[-1] if lines else type(err).__name__
