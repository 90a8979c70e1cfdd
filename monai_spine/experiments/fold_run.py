"""One training that leaves out a fold, and its evaluation: the settings, the saved state, the resume after a kill."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_spine.bundle.run import Report, Settings, epoch_lines, logging_setting, record_config, run_step
from monai_spine.data.datalist import Record, label_array
from monai_spine.errors import InvalidTableError
from monai_spine.files import read_json, write_json, write_text
from monai_spine.scoring.submission import Labels
from monai_spine.training.run_record import read_record
from monai_spine.training.run_state import AUTO, resumes

OWN = ("fold", "bundle_root", "dataset_dir", "datalist", "resume", "logging_file")
"""Configuration entries that such a run sets itself."""


@dataclass(frozen=True)
class FoldRun:
    """Which network to train on which data, and where."""

    configs: tuple[Path, ...]
    """The configuration files of the training; the entries of later ones win."""
    settings: Settings
    """Configuration entries that win over all files."""
    bundle: Path
    """The bundle whose form of log lines and whose evaluation are used."""
    datalist: Path
    """A datalist with folds."""
    fold: int
    """The fold that is left out."""
    root: Path
    """The folder of all that the run writes."""
    epochs: int | None = None
    """None for as many as the configuration has."""
    cache: Path | None = None
    """A folder for bundles with a ``cache_dir``. Runs share it, because a cache's files are named by a digest of what
    they were made with."""
    evaluated: tuple[tuple[str, Any], ...] = ()
    """Configuration entries that put other items in place of the fold's for the evaluation."""

    @property
    def fingerprint(self) -> str:
        """A digest of all that the training depends on."""
        return digest([*self.configs, self.datalist], self.fold, self.settings, self.epochs)

    @property
    def predictions(self) -> Path:
        """The table that the evaluation writes."""
        return self.root / "eval" / "predictions.csv"

    @property
    def records(self) -> list[dict[str, Any]]:
        """What each epoch cost; see `RunRecord`."""
        return read_record(self.root / "epochs.jsonl")

    @property
    def is_done(self) -> bool:
        """Whether the same run was trained and evaluated before."""
        state = read_state(self._state)
        same = state.get("fingerprint") == self.fingerprint and state.get("evaluated") == json.dumps(self.evaluated)
        return same and self.predictions.is_file()

    def all_settings(self) -> Settings:
        """All configuration entries of the run but ``resume``."""
        settings = [*self.settings, *fold_settings(self.bundle, self.datalist, self.fold, self.root)]
        if self.epochs is not None:
            settings.append(("epochs", str(self.epochs)))
        if self.cache is not None:
            settings.append(("cache_dir", str(self.cache.resolve())))
        return tuple(settings)

    def train(self, report: Report) -> None:
        """Train, unless it is done.

        Writes what a training of the bundle writes, ``epochs.jsonl`` (see `RunRecord`), ``log.txt`` and ``run.json``.

        Raises `BundleRunError` if the training fails.
        """
        state, records = read_state(self._state), self.records
        same = state.get("fingerprint") == self.fingerprint
        if same and (state.get("trained") or (records and records[-1]["epoch"] == records[-1]["epochs"])):
            report("trained before")
            return
        record, log = self.root / "epochs.jsonl", self.root / "log.txt"
        # auto, not True: the training itself knows whether a kill left an epoch to go on from, or came after the last.
        resume = same and resumes(AUTO, self.root / "models")
        if not resume:  # an old record would count epochs of another training
            record.unlink(missing_ok=True)
        # Before the training, so that a run after a kill recognises its own weights.
        self._save(trained=False)
        report(f"{'resumes' if resume else 'starts'}, log in {log}")
        settings = (*self.all_settings(), ("resume", AUTO if same else "False"))
        run_step("training", [*self.configs, record_config(record)], settings, log, follow=epoch_lines(report))
        self._save(trained=True)

    def evaluate(self) -> Path:
        """The predictions of the best weights for the items of the evaluation, made once.

        Raises `BundleRunError` if the evaluation fails.
        """
        if not self.is_done:
            override = self.root / "evaluated.json"
            write_json(override, dict(self.evaluated))
            configs = [*self.configs, self.bundle / "configs" / "evaluate.json", override]
            # An evaluation starts from trained weights: it has no settings of a training's start.
            settings = tuple(one for one in self.all_settings() if not one[0].startswith("start#"))
            run_step("evaluation", configs, settings, self.root / "log.txt")
            self._save(trained=True, evaluated=json.dumps(self.evaluated))
        return self.predictions

    @property
    def _state(self) -> Path:
        return self.root / "run.json"

    def _save(self, *, trained: bool, evaluated: str | None = None) -> None:
        write_state(self._state, fingerprint=self.fingerprint, trained=trained, evaluated=evaluated)


def fold_settings(bundle: Path, datalist: Path, fold: int, root: Path) -> Settings:
    """Configuration entries of a run of ``bundle`` that leaves out ``fold`` and writes to ``root``."""
    settings = [("fold", str(fold)), ("bundle_root", str(root)), ("dataset_dir", str(datalist.parent))]
    if datalist.name != "datalist.json":  # the name that the bundles look for in dataset_dir
        settings.append(("datalist", str(datalist)))
    return (*settings, *logging_setting(bundle))


def labels_of(records: Sequence[Record]) -> Labels:
    """The labels of a datalist's records."""
    return Labels(tuple(record["study_id"] for record in records), label_array(records))


def digest(files: Sequence[Path], *values: Any) -> str:
    """SHA-256 of the contents of files and of values, as JSON. A run is resumed only with the same."""
    parts = [path.read_bytes() for path in files]
    return hashlib.sha256(b"\0".join([*parts, json.dumps(values).encode()])).hexdigest()


def read_state(path: Path) -> dict[str, Any]:
    """The JSON object that an earlier run saved; empty if there is none, or if it is damaged."""
    try:
        content = read_json(path)
    except (OSError, InvalidTableError):
        return {}
    return content if isinstance(content, dict) else {}


def write_state(path: Path, **content: Any) -> None:
    """Save a JSON object for `read_state`."""
    write_text(path, json.dumps(content) + "\n")


def prefixed(report: Report, prefix: str) -> Report:
    """Reports lines with a prefix, such as ``[2/5]``."""
    return lambda line: report(f"{prefix}{line}")
