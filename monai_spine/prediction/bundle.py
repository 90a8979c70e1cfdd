"""What a grader's bundle holds: configuration, presets, files of weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from monai_spine.bundle.errors import explanation
from monai_spine.bundle.provenance import read_metadata
from monai_spine.errors import InvalidTableError, MissingInputError, SpineError, listed
from monai_spine.spine import FINDINGS

_NEEDED = ("network_def", "preprocessing", "postprocessing")
_OPTIONAL = ("inferer", "conditions")


def weight_files(bundle: Path, weights: Path | None = None) -> list[Path]:
    """The files of weights: ``fold_*.pt`` where there are any, else ``model.pt``.

    Raises
    ------
    MissingInputError
        If there are none: names the file and the command that trains it.
    """
    given = weights if weights is not None else bundle / "models"
    if given.is_file():
        return [given]
    files = sorted(given.glob("fold_*.pt"), key=lambda file: (len(file.name), file.name)) or [given / "model.pt"]
    if not files[0].is_file():
        raise MissingInputError(
            f"expected weights of {bundle.resolve().name}, but there is no file {files[0]}; train them: "
            f"python -m monai.bundle run training --config_file {bundle / 'configs/train.json'} "
            f"--bundle_root {bundle} --dataset_dir DATA, or name others with --weights"
        )
    return files


def check_is_grader(bundle: Path) -> None:
    """Hold what the metadata say of the network, if they say it, against what a grader gives.

    Raises
    ------
    InvalidTableError
        If it gives something else.
    """
    content = read_metadata(bundle)
    try:
        channels = content["network_data_format"]["outputs"]["pred"]["num_channels"]
    except (KeyError, TypeError):
        return
    if channels != len(FINDINGS):
        raise InvalidTableError(
            f"{bundle}: expected a grader, which gives {len(FINDINGS)} findings, but its metadata say {channels}"
        )


def config_files(bundle: Path, presets: Sequence[str] = ()) -> list[Path]:
    """``configs/inference.json``, and the presets that change it.

    Raises
    ------
    MissingInputError
        If one of them is not there.
    """
    folder = bundle / "configs"
    config = folder / "inference.json"
    if not config.is_file():
        raise MissingInputError(f"expected a bundle, but there is no {config}; name its folder with --model")
    files = [folder / "presets" / f"{preset}.json" for preset in presets]
    absent = [file for file in files if not file.is_file()]
    if absent:
        known = sorted(file.stem for file in (folder / "presets").glob("*.json"))
        raise MissingInputError(f"expected a preset at {absent[0]}; those of {bundle} are {', '.join(known) or 'none'}")
    return [config, *files]


def parsed(configs: Sequence[Path], bundle: Path, device: torch.device) -> dict[str, Any]:
    """``network_def``, ``preprocessing`` and ``postprocessing`` of a bundle; ``inferer``, ``conditions`` if it has any.

    Raises
    ------
    InvalidTableError
        If one of them is missing or cannot be made.
    """
    parser = ConfigParser()
    said = " with ".join(str(config) for config in configs)
    try:
        parser.read_config([str(config) for config in configs])
        absent = [key for key in _NEEDED if key not in parser]
        if absent:
            raise InvalidTableError(f"{said}: expected a grader's configuration, but it has no {listed(absent)}")
        parser.update({"bundle_root": str(bundle), "device": f"$torch.device('{device}')"})
        if "amp" in parser:
            parser["amp"] = device.type == "cuda"
        wanted = [*_NEEDED, *(key for key in _OPTIONAL if key in parser)]
        return {key: parser.get_parsed_content(key) for key in wanted}
    except SpineError:
        raise
    except Exception as err:  # MONAI's parser raises errors of many kinds
        raise InvalidTableError(f"{said}: {explanation(err) or _last_line(err)}") from err


def _last_line(err: BaseException) -> str:
    while err.__cause__ is not None:
        err = err.__cause__
    lines = str(err).strip().splitlines()
    return lines[-1] if lines else type(err).__name__


def digest_of(files: Sequence[Path]) -> str:
    """SHA-256 of the contents of files, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
