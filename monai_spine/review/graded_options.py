"""The options with which studies were graded, as their findings have them, so that they are graded again alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from monai_spine.errors import InvalidOptionError, SpineError
from monai_spine.prediction.models import Models
from monai_spine.report.study_result import StudyResult
from monai_spine.runtime.choice import Precision, Runtime

Content = Mapping[str, Any]


def _tta(content: Content) -> tuple[str, ...]:
    return tuple(map(str, content["models"][0].get("tta", ())))


def _precision(content: Content) -> str:
    return str(content["models"][0].get("runtime", {}).get("precision", Precision.FLOAT32.value))


def _refine(content: Content) -> bool:
    return "recesses" in content["localizer_runtimes"] if "localizer_runtimes" in content else True


_KNOWN: Mapping[str, tuple[Callable[[Content], Any], str]] = {
    "tta": (_tta, "--tta"),
    "precision": (_precision, "--precision"),
    "refine": (_refine, "--refine or --no-refine"),
}
"""Options of `open_models`, how the content of ``findings.json`` has them, and their names in the command."""


def options_as_graded(out: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of `monai_spine.prediction.models.open_models` for the studies of an output folder.

    Parameters
    ----------
    options
        Those that the user gave; None for those by which the studies were graded.

    Raises
    ------
    InvalidOptionError
        If the studies were graded with different options, and the user chose none.
    """
    contents = [content for file in sorted(out.glob("*/findings.json")) if (content := _content(file))]
    filled = dict(options)
    for name, (known, option) in _KNOWN.items():
        if filled.get(name) is not None:
            continue
        values = {known(content) for content in contents}
        if len(values) > 1:
            raise InvalidOptionError(f"the studies were graded with different {option}; name it as for predict")
        filled.pop(name, None)
        if values:
            filled[name] = values.pop()
    if filled.get("precision") == Precision.BFLOAT16.value:
        filled.setdefault("runtime", Runtime.OPENVINO.value)  # the only one that has it
    filled["measures"] = any("measures" in content for content in contents)
    return filled


def models_as_graded(models: Models, result: StudyResult) -> Models:
    """The models that grade a study again: with measures if it has some; one that was refused, if others have some.

    Raises
    ------
    SpineError
        If its measures were compared with another cohort than those of the models are.
    """
    if result.refused:
        return models
    if result.measures is None:
        return models.without_measures()
    used = models.measurer.reference.name if models.measurer else ""
    if result.measures.reference not in {"", used}:
        raise SpineError(
            f"its measures are compared with the cohort {result.measures.reference!r}, and not with {used!r}; name the "
            "file of its cohort with --measures-reference"
        )
    return models


def _content(file: Path) -> Content | None:
    """The content of ``findings.json``; None if it has no models, or cannot be read."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return content if isinstance(content["models"][0], dict) else None
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None
