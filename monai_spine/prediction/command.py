"""The command ``monai-spine predict``: what was named is checked and opened before anything is converted or graded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_spine.errors import InvalidOptionError
from monai_spine.prediction.dicom import Conversion
from monai_spine.prediction.inputs import find_inputs
from monai_spine.prediction.models import open_models
from monai_spine.prediction.run import Summary, predict
from monai_spine.scoring.competition import level_prior
from monai_spine.scoring.submission import read_labels


def run(
    paths: Sequence[Path],
    out: Path,
    *,
    models: Mapping[str, Any],
    say: Callable[[str], None],
    given_points: bool = False,
    name_by: str = "uid",
    prior_from: Path | None = None,
    force: bool = False,
    workers: int = 1,
    quiet: bool = False,
) -> Summary:
    """Grade the studies of the inputs.

    Parameters
    ----------
    models
        Options of `open_models`.
    say
        Is told what the models are worth, before the first study.
    prior_from
        Labels whose per-level prior becomes the rows of refused studies.

    Raises
    ------
    SpineError
        If an input, a model or an option cannot be used.
    """
    _check(paths, out)
    fill = level_prior(read_labels(prior_from).grades) if prior_from else None
    opened = open_models(**models)
    inputs = find_inputs(paths, out, Conversion(name_by, workers, resume=not force, quiet=quiet))
    say(opened.notice)
    return predict(inputs, out, opened, given_points=given_points, force=force, fill=fill, quiet=quiet)


def _check(paths: Sequence[Path], out: Path) -> None:
    if not paths:
        raise InvalidOptionError("expected something to grade; name DICOM, NIfTI or a datalist with -i")
    bundles = [path for path in paths if (path / "configs" / "inference.json").is_file()]
    if bundles:
        raise InvalidOptionError(f"{bundles[0]} is a bundle, not an input; write --model before each bundle")
    if out.exists() and not out.is_dir():
        raise InvalidOptionError(f"the output {out} is a file; expected a folder, or a new name for one")
