"""One network of a comparison: trained on one fold, resumed after a kill, and asked about items it never saw."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_spine.bundle.run import Settings, epoch_lines, logging_setting, recorded, run_step
from monai_spine.experiments.comparison.candidate import Part
from monai_spine.files import write_text
from monai_spine.training.run_record import read_record

Say = Callable[[str], None]

OWN = ("fold", "bundle_root", "dataset_dir", "datalist", "resume", "logging_file", "epochs")
"""Configuration entries that a comparison sets itself."""

_STATE = "run.json"


@dataclass(frozen=True)
class Site:
    """Which network to train on what.

    Attributes
    ----------
    datalist
        Its folds are used.
    bundle
        For its form of log lines and its evaluation.
    asked
        Configuration entries that put the items to be asked about into the validation's place; none for the fold.
    """

    part: Part
    datalist: Path
    fold: int
    bundle: Path
    asked: tuple[tuple[str, Any], ...] = ()

    def fingerprint(self, epochs: int | None) -> str:
        """A digest of all that the training depends on."""
        files = [path.read_bytes() for path in (*self.part.configs, self.datalist)]
        files.append(json.dumps([self.fold, self.part.settings, epochs]).encode())
        return hashlib.sha256(b"\0".join(files)).hexdigest()


def train(site: Site, root: Path, epochs: int | None, cache: Path, say: Say) -> None:
    """Train, unless it is done.

    Writes what a training of the bundle writes, ``epochs.jsonl`` (see `RunRecord`), ``log.txt`` and ``run.json``.

    Parameters
    ----------
    epochs
        As the configuration says, if None.
    cache
        For bundles with a ``cache_dir``, whose content is told apart by what it was made with.

    Raises
    ------
    BundleRunError
        If it fails.
    """
    fingerprint = site.fingerprint(epochs)
    state = read_state(root)
    same = state.get("fingerprint") == fingerprint
    if same and (state.get("trained") or _is_over(spent(root))):
        say("trained before")
        return
    record = root / "epochs.jsonl"
    resume = same and (root / "models/latest.pt").is_file()
    if not resume:
        record.unlink(missing_ok=True)
    _keep(root, fingerprint, trained=False)
    say(f"{'goes on' if resume else 'begins'}, log in {root / 'log.txt'}")
    settings = [*settings_of(site, root, epochs), ("resume", str(resume))]
    if site.part.entry("cache_dir") is not None:
        settings.append(("cache_dir", str(cache.resolve())))
    log = root / "log.txt"
    run_step("training", [*site.part.configs, recorded(record)], tuple(settings), log, follow=epoch_lines(say))
    _keep(root, fingerprint, trained=True)


def evaluate(site: Site, root: Path, epochs: int | None, cache: Path) -> Path:
    """What the best weights say of the items that are asked about: a ``predictions.csv``, made once.

    Raises
    ------
    BundleRunError
        If it fails.
    """
    predictions = root / "eval" / "predictions.csv"
    stated = json.dumps(site.asked)
    state = read_state(root)
    if state.get("asked") == stated and predictions.is_file():
        return predictions
    asked = root / "asked.json"
    write_text(asked, json.dumps(dict(site.asked), indent=2) + "\n")
    configs = [*site.part.configs, site.bundle / "configs" / "evaluate.json", asked]
    settings = settings_of(site, root, epochs)
    if site.part.entry("cache_dir") is not None:
        settings = (*settings, ("cache_dir", str(cache.resolve())))
    run_step("evaluation", configs, settings, root / "log.txt")
    _keep(root, str(state["fingerprint"]), trained=True, asked=stated)
    return predictions


def settings_of(site: Site, root: Path, epochs: int | None) -> Settings:
    """Configuration entries of a run in a folder."""
    own = [("fold", str(site.fold)), ("bundle_root", str(root)), ("dataset_dir", str(site.datalist.parent))]
    if site.datalist.name != "datalist.json":
        own.append(("datalist", str(site.datalist)))
    if epochs is not None:
        own.append(("epochs", str(epochs)))
    return (*site.part.settings, *own, *logging_setting(site.bundle))


def read_state(root: Path) -> dict[str, Any]:
    """What is known of an earlier run in a folder; empty if nothing is."""
    try:
        content = json.loads((root / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def spent(root: Path) -> list[dict[str, Any]]:
    """What each epoch of a run cost."""
    return read_record(root / "epochs.jsonl")


def _is_over(lines: Sequence[dict[str, Any]]) -> bool:
    return bool(lines) and lines[-1]["epoch"] == lines[-1]["epochs"]


def _keep(root: Path, fingerprint: str, *, trained: bool, asked: str | None = None) -> None:
    write_text(root / _STATE, json.dumps({"fingerprint": fingerprint, "trained": trained, "asked": asked}) + "\n")
