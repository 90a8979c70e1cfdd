"""The search's trials in a database: SQLite in a folder, or any server that several machines reach."""

from __future__ import annotations

import hashlib
import os
import socket
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from monai_spine.errors import InvalidOptionError

_HEARTBEAT_SECONDS = 20
"""A machine that has not been heard of for twice as long has died, and its trial has failed."""

_WORKER, _FINGERPRINT, REASON = "worker", "fingerprint", "reason"


class Ledger:
    """A search's trials, shared by all that work on it.

    Parameters
    ----------
    url
        Of the database, as SQLAlchemy takes it.
    name
        Of the search: a database holds many.
    higher_is_better
        The direction.
    pruner
        Ends trials that look hopeless.
    fingerprint
        Of all that trials have in common; a search goes on only with the same.

    Raises
    ------
    InvalidOptionError
        If the database cannot be reached, or holds a search of this name that is another one.
    """

    def __init__(
        self, url: str, name: str, *, higher_is_better: bool, pruner: optuna.pruners.BasePruner, fingerprint: str
    ) -> None:
        self.shown = _shown(url)
        optuna.logging.set_verbosity(optuna.logging.CRITICAL)  # what it says is said by ours
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        directions = optuna.study.StudyDirection
        direction = directions.MAXIMIZE if higher_is_better else directions.MINIMIZE
        try:
            _make_folder(url)
            storage = optuna.storages.RDBStorage(url, heartbeat_interval=_HEARTBEAT_SECONDS)
            self.study = optuna.create_study(
                storage=storage, study_name=name, direction=direction, pruner=pruner, load_if_exists=True
            )
        except ImportError as err:
            raise InvalidOptionError(f"{self.shown}: {err} ({err.__cause__}); pip install 'monai-spine[tune]'") from err
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError, RuntimeError, OSError) as err:
            raise InvalidOptionError(f"the database {self.shown} cannot be used: {_first_line(err)}") from err
        self._check(name, fingerprint)

    def claimed(self) -> list[FrozenTrial]:
        """Trials that count: finished, running, or failed by their own fault; not those that were interrupted."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if _counts(trial)]

    def give_back(self) -> list[int]:
        """Mark trials as failed that ran in a process of this machine that is gone; they no longer count."""
        gone = []
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            machine, _, process = str(trial.user_attrs.get(_WORKER, "")).partition(":")
            if machine == _machine() and not _is_alive(int(process)):
                self.study.tell(trial.number, state=TrialState.FAIL)
                gone.append(trial.number)
        return gone

    def sign(self, trial: optuna.Trial) -> None:
        """Note who works on a trial."""
        trial.set_user_attr(_WORKER, f"{_machine()}:{os.getpid()}")

    def is_surplus(self, trial: optuna.Trial, budget: int) -> bool:
        """Whether so many trials with lower numbers count already: two workers took the last one at once."""
        return sum(one.number < trial.number for one in self.claimed()) >= budget

    def _check(self, name: str, fingerprint: str) -> None:
        known = self.study.user_attrs.get(_FINGERPRINT)
        if known is None:
            self.study.set_user_attr(_FINGERPRINT, fingerprint)
        elif known != fingerprint:
            raise InvalidOptionError(
                f"{self.shown} holds a search {name!r} with another space, metric, configuration or datalist; "
                "give this one a --study name of its own"
            )


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials with a figure of a whole training."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def digest(files: Sequence[Path], *texts: Any) -> str:
    """Of all that trials have in common."""
    parts = [path.read_bytes() for path in files]
    return hashlib.sha256(b"\0".join([*parts, repr(texts).encode()])).hexdigest()


def _counts(trial: FrozenTrial) -> bool:
    return trial.state is not TrialState.FAIL or REASON in trial.user_attrs


def _machine() -> str:
    """Tells machines apart without naming them."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _shown(url: str) -> str:
    """Without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError as err:
        raise InvalidOptionError(
            f"expected a database's URL, such as sqlite:///study.db or postgresql://user@host/name, but found {url!r}"
        ) from err


def _make_folder(url: str) -> None:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)


def _first_line(err: BaseException) -> str:
    cause = err.__cause__ or err
    return next(iter(str(cause).strip().splitlines()), type(cause).__name__)
