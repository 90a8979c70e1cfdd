"""Candidates of a comparison: presets of a bundle (alone, joined, or one for each condition), or backbones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_spine.bundle.run import Settings, training_configs
from monai_spine.bundle.setting_values import setting_of
from monai_spine.errors import InvalidOptionError
from monai_spine.files import read_json

_PLAIN = "default"
_SEVERAL = "backbones"
_FORBIDDEN = set('\\:*?"<>|')


@dataclass(frozen=True)
class Part:
    """One network of a candidate."""

    name: str
    """The name of the network, and of its folder."""
    configs: tuple[Path, ...]
    """The configuration files of its training; the entries of later ones win."""
    settings: Settings = ()
    """Configuration entries that win over all files."""

    def entry(self, name: str) -> Any:
        """An entry of its configuration as written there; a setting as text; None if there is none."""
        # The last one wins, as in MONAI's parser.
        for content in (dict(self.settings), *(read_json(path) for path in reversed(self.configs))):
            try:
                return setting_of(content, name)
            except KeyError:
                continue
        return None


@dataclass(frozen=True)
class Candidate:
    """A row of the comparison: one network, or several networks, each for conditions of its own."""

    name: str
    parts: tuple[Part, ...]


def chosen_candidates(
    bundle: Path, names: str | None, backbone_names: str | None, overrides: Sequence[Path], settings: Settings
) -> list[Candidate]:
    """Candidates from texts such as ``a,b,c``: either from presets, or from backbones.

    Raises `InvalidOptionError` if both are given or neither is, or as `presets` and `backbones` do.
    """
    if (names is None) == (backbone_names is None):
        raise InvalidOptionError("expected either --presets or --backbones")
    if names is None:
        return backbones(bundle, overrides, (backbone_names or "").split(","), settings)
    if overrides:
        raise InvalidOptionError("with --presets, join presets as a+b instead of giving --preset")
    return presets(bundle, names.split(","), settings)


def presets(bundle: Path, texts: Sequence[str], settings: Settings = ()) -> list[Candidate]:
    """Candidates from presets.

    ``texts``: ``a`` is a preset, and ``default`` is the bundle without one. ``a+b`` is one network with both presets;
    the entries of the later one win. ``a/b/c`` are several networks that share the budget, each with ``conditions`` of
    its own. ``name=…`` gives the row another name. A preset may be a file, but not in ``a/b``.
    Raises `MissingInputError` or `InvalidOptionError` if a preset does not exist, a text has another form, or two
    candidates have one name.
    """
    if not all(text.strip() for text in texts):
        raise InvalidOptionError("expected names of presets with commas between them, such as default,mine")
    candidates = [_preset(bundle, text.strip(), settings) for text in texts]
    _check_names(candidates)
    return candidates


def backbones(
    bundle: Path, overrides: Sequence[Path], names: Sequence[str], settings: Settings = ()
) -> list[Candidate]:
    """Candidates that differ in their backbone only.

    Raises `MissingInputError` or `InvalidOptionError` if the bundle's configuration has no backbone, or two candidates
    have one name.
    """
    plain = Part("", tuple(training_configs(bundle, overrides)))  # without settings, whose values are text
    several, one = plain.entry(_SEVERAL), plain.entry("backbone")
    if several is None and one is None:
        raise InvalidOptionError(
            f"{bundle} has neither 'backbone' nor {_SEVERAL!r} in its configuration, so there is nothing to replace; "
            "compare its presets"
        )
    candidates = []
    for name in (text.strip() for text in names):
        entry = ("backbone", name) if several is None else (_SEVERAL, str([name] * len(several)))
        candidates.append(Candidate(name, (Part(name, plain.configs, (*settings, entry)),)))
    _check_names(candidates)
    return candidates


def _preset(bundle: Path, text: str, settings: Settings) -> Candidate:
    name, _, spelt = text.rpartition("=")
    files = any(Path(one).is_file() for one in spelt.split("+"))
    parts = tuple(_part(bundle, part, settings) for part in ([spelt] if files else spelt.split("/")))
    if len(parts) > 1:
        _check_conditions(text, parts)
    return Candidate(name or spelt.replace("/", "_"), parts)


def _part(bundle: Path, text: str, settings: Settings) -> Part:
    names = [name for name in text.split("+") if name != _PLAIN]
    return Part(text, tuple(training_configs(bundle, [Path(name) for name in names])), settings)


def _check_conditions(text: str, parts: Sequence[Part]) -> None:
    """Make sure that no condition has two networks."""
    network_of: dict[str, str] = {}
    for part in parts:
        for condition in part.entry("conditions") or ["every condition"]:
            if condition in network_of or condition == "every condition":
                raise InvalidOptionError(
                    f"expected networks with conditions of their own in {text!r}, but {part.name} is for "
                    f"{condition}" + (f", and so is {network_of[condition]}" if condition in network_of else "")
                )
            network_of[condition] = part.name


def _check_names(candidates: Sequence[Candidate]) -> None:
    names = [candidate.name for candidate in candidates]
    if not names or "" in names:
        raise InvalidOptionError("expected names to compare, with commas between them, such as a,b,c")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidOptionError(f"expected each candidate once, but found {', '.join(twice)} several times")
    unusable = [name for name in names if set(name) & _FORBIDDEN or name in {".", ".."}]
    if unusable:
        raise InvalidOptionError(f"a candidate's name is the name of its folder, but {unusable[0]!r} cannot be one")
