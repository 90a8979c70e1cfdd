"""What a model's weights were trained on, as its bundle's metadata says, and the sentence about it in every output.

``configs/metadata.json`` of a bundle may hold ``"trained_on"``: ``"phantom"`` for weights that have seen simulated
images alone, or other words, such as ``"RSNA 2024, 1,975 studies"``, for the weights in the bundle's ``models``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_spine.errors import InvalidTableError

RESEARCH = "Research software, not a medical device: not for diagnosis."
PHANTOM = "phantom"


def read_metadata(bundle: Path) -> dict[str, Any]:
    """A bundle's ``configs/metadata.json``; empty if it has none.

    Raises
    ------
    InvalidTableError
        If it is no JSON object.
    """
    path = bundle / "configs" / "metadata.json"
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as err:
        raise InvalidTableError(f"{path} is not JSON: {err}") from err
    if not isinstance(content, dict):
        raise InvalidTableError(f"{path}: expected a JSON object, but found {type(content).__name__}")
    return content


def trained_on(bundle: Path) -> str | None:
    """What a bundle says of its weights; None if it says nothing.

    Raises
    ------
    InvalidTableError
        If its metadata are no JSON object, or say it in another form.
    """
    said = read_metadata(bundle).get("trained_on")
    if said is not None and not (isinstance(said, str) and said):
        raise InvalidTableError(
            f'{bundle}/configs/metadata.json: expected "trained_on" as a word such as "phantom", but found {said!r}'
        )
    return said


def notice(models: Mapping[str, str | None]) -> str:
    """What every output says of the models, by name and what they were trained on."""
    sentences = [RESEARCH]
    phantom = [name for name, said in models.items() if said == PHANTOM]
    unknown = [name for name, said in models.items() if said is None]
    if phantom:
        sentences.append(
            f"The weights of {_and(phantom)} were trained on phantoms, which are simulated images: they must be "
            "trained on real data before a grade means anything for a patient."
        )
    if unknown:
        sentences.append(f"What the weights of {_and(unknown)} were trained on is not known.")
    sentences += [
        f"The weights of {name} were trained on: {said}."
        for name, said in models.items()
        if said not in {None, PHANTOM}
    ]
    return " ".join(sentences)


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
