"""The provenance of a bundle's weights: what they were trained on.

``configs/metadata.json`` of a bundle may hold ``"trained_on"``: ``"phantom"`` for weights that have seen simulated
images only, or other words, such as ``"RSNA 2024, 1,975 studies"``. Every output repeats it in a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_spine.bundle.model_description import description_path, read_description
from monai_spine.errors import InvalidTableError
from monai_spine.files import read_json

RESEARCH = "Research software, not a medical device: not for diagnosis."
PHANTOM = "phantom"
UNVERIFIED = "The checksums of the weights were not compared (--no-verify): they may be damaged."


def read_metadata(bundle: Path) -> dict[str, Any]:
    """A bundle's ``configs/metadata.json``; empty if the bundle has no such file.

    Raises
    ------
    InvalidTableError
        If the file is not a JSON object.
    """
    path = bundle / "configs" / "metadata.json"
    if not path.is_file():
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        raise InvalidTableError(f"{path}: expected a JSON object, but found {type(content).__name__}")
    return content


def trained_on(bundle: Path) -> str | None:
    """What the weights in a bundle's ``models`` were trained on; None if nothing says it.

    The description beside ``models/model.pt`` counts before the metadata: a copy of a bundle that was trained again
    has the metadata of the first weights.

    Raises
    ------
    InvalidTableError
        If the metadata are not a JSON object, or ``trained_on`` is not a word.
    """
    weights = bundle / "models" / "model.pt"
    if description_path(weights).is_file() and (described := read_description(weights).trained_on):
        return described
    source = read_metadata(bundle).get("trained_on")
    if source is not None and not (isinstance(source, str) and source):
        raise InvalidTableError(
            f'{bundle}/configs/metadata.json: expected "trained_on" as a word such as "phantom", but found {source!r}'
        )
    return source


def provenance(models: Mapping[str, str | None]) -> str:
    """The sentences about the models in every output: that this is research software, and what weights learnt from.

    Parameters
    ----------
    models
        By the name of a bundle, what its weights were trained on; None where that is not known.
    """
    sentences = [RESEARCH]
    phantom = [name for name, source in models.items() if source == PHANTOM]
    unknown = [name for name, source in models.items() if source is None]
    if phantom:
        sentences.append(
            f"The weights of {_and(phantom)} were trained on phantoms, which are simulated images: they must be "
            "trained on real data before a grade means anything for a patient."
        )
    if unknown:
        sentences.append(f"What the weights of {_and(unknown)} were trained on is not known.")
    sentences += [
        f"The weights of {name} were trained on: {source}."
        for name, source in models.items()
        if source not in {None, PHANTOM}
    ]
    return " ".join(sentences)


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
