"""The files of a grader's bundle: configuration, presets, weights and their description."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from monai_spine.bundle.model_description import ModelDescription, description_path, read_description
from monai_spine.bundle.provenance import read_metadata
from monai_spine.bundle.run import offered_presets, preset_file
from monai_spine.errors import InvalidOptionError, InvalidTableError, MissingInputError
from monai_spine.grading.canal_opinion import opinion_path
from monai_spine.grading.training_features import features_path
from monai_spine.spine import FINDINGS


@dataclass(frozen=True)
class GraderFiles:
    """The files that define a grader.

    Attributes
    ----------
    configs
        ``configs/inference.json``, then presets.
    weights
        One network for each.
    """

    bundle: Path
    configs: tuple[Path, ...]
    weights: tuple[Path, ...]

    @classmethod
    def of(cls, bundle: Path, weights: Path | None = None, presets: Sequence[str] = ()) -> GraderFiles:
        """The files of a bundle; see `config_files` and `weight_files`.

        Raises
        ------
        MissingInputError, InvalidTableError
            If one is missing, or the bundle is no grader.
        """
        configs = config_files(bundle, presets)
        check_is_grader(bundle)
        return cls(bundle, tuple(configs), tuple(weight_files(bundle, weights)))

    @cached_property
    def description(self) -> ModelDescription:
        """Of all weights together; see `common_description`."""
        return common_description(self.weights)

    @property
    def calibration(self) -> Path | None:
        """The ``calibration.json`` beside the weights, if there is one."""
        beside = self.weights[0].parent / "calibration.json"
        return beside if beside.is_file() else None

    @property
    def all(self) -> list[Path]:
        """All files that predictions depend on."""
        described = map(description_path, self.weights)
        beside = [self.calibration, features_path(self.weights[0]), opinion_path(self.weights[0])]
        return [*self.configs, *self.weights, *described, *(file for file in beside if file and file.is_file())]


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
