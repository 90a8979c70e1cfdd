"""Storage of a search's trials: a SQLite database in a folder, or any database server for several machines."""

import hashlib
import os
import re
import socket
import warnings
from pathlib import Path
from urllib.parse import quote, quote_plus

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from monai_spine.errors import InvalidOptionError, MissingInputError

_HEARTBEAT_SECONDS = 20
"""A process without a sign of life for twice as long is considered dead, and its trial failed."""

_WORKER, _FINGERPRINT, REASON = "worker", "fingerprint", "reason"


class TrialStorage:
    """The trials of a search, shared by all processes that work on it.

    Raises `InvalidOptionError` if the database cannot be used, or holds another search of this name.

    Parameters
    ----------
    url
        The database's URL, in SQLAlchemy's form.
    name
        The name of the search: a database can hold many.
    higher_is_better
        Whether more of the figure is better.
    pruner
        Ends trials that are worse than others.
    fingerprint
        A digest of all that the trials have in common. A search is resumed only with the same.
    """

    def __init__(
        self, url: str, name: str, *, higher_is_better: bool, pruner: optuna.pruners.BasePruner, fingerprint: str
    ) -> None:
        self.shown = _shown(url)
        optuna.logging.set_verbosity(optuna.logging.CRITICAL)  # our own lines report the same
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        directions = optuna.study.StudyDirection
        direction = directions.MAXIMIZE if higher_is_better else directions.MINIMIZE
        try:
            _make_folder(url)
            # The heartbeat finds trials of machines that died; `release_interrupted` those of this one, at once.
            storage = optuna.storages.RDBStorage(url, heartbeat_interval=_HEARTBEAT_SECONDS)
            self.study = optuna.create_study(
                storage=storage, study_name=name, direction=direction, pruner=pruner, load_if_exists=True
            )
        except ImportError as err:
            reason = _masked(f"{err} ({err.__cause__})", url)
            raise InvalidOptionError(f"{self.shown}: {reason}; pip install 'monai-spine[tune]'") from None
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError, RuntimeError, OSError) as err:
            reason = _masked(_first_line(err), url)
            # Without the chain: a driver's own error may hold the whole URL, and debuggers print it.
            raise InvalidOptionError(f"the database {self.shown} cannot be used: {reason}") from None
        self._check(name, fingerprint)

    def counted(self) -> list[FrozenTrial]:
        """Trials that count towards the budget: finished, running, or failed with a reason; not interrupted ones."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if _counts(trial)]

    def release_interrupted(self) -> list[int]:
        """Mark trials as failed whose process on this machine has ended, and return their numbers.

        They do not count any more, so others take their place.
        """
        interrupted = []
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            machine, _, process = str(trial.user_attrs.get(_WORKER, "")).partition(":")
            if machine == _machine() and not _is_alive(int(process)):
                self.study.tell(trial.number, state=TrialState.FAIL)
                interrupted.append(trial.number)
        return interrupted

    def sign(self, trial: optuna.Trial) -> None:
        """Save which process works on a trial."""
        trial.set_user_attr(_WORKER, f"{_machine()}:{os.getpid()}")

    def is_surplus(self, trial: optuna.Trial, budget: int) -> bool:
        """Whether ``budget`` trials with lower numbers count already.

        That happens if two processes start the last trial at the same time.
        """
        return sum(one.number < trial.number for one in self.counted()) >= budget

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
    """Trials with the figure of a complete training."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _counts(trial: FrozenTrial) -> bool:
    return trial.state is not TrialState.FAIL or REASON in trial.user_attrs


def _machine() -> str:
    """An identifier of this machine that does not reveal its name."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


_HIDDEN = "***"
_SECRETS = re.compile(r"pass|pwd|secret|token|key", re.IGNORECASE)
"""Names of a URL's parameters whose values are not shown."""


def storage_url(text: str) -> str:
    """The URL of an option: itself, or the first line of a file that is named as ``@FILE``.

    Raises `MissingInputError` if there is no such file.
    """
    if not text.startswith("@"):
        return text
    path = Path(text[1:])
    if not path.is_file():
        raise MissingInputError(f"expected a file with the URL of a database, but there is no file {path}")
    return next(iter(path.read_text(encoding="utf-8").split()), "")


def has_password(url: str) -> bool:
    """Whether a URL holds a secret."""
    return bool(_secrets(url))


def _secrets(url: str) -> list[str]:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return []
    values = [parsed.password] if parsed.password else []
    for name, value in parsed.query.items():
        if _SECRETS.search(name):
            values += [value] if isinstance(value, str) else value
    return [str(value) for value in values if value]


def _shown(url: str) -> str:
    """The URL without its secrets: the password, and parameters such as ``?password=``."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the text is not shown, since it may hold a password all the same
        raise InvalidOptionError(
            "expected a database's URL, such as sqlite:///study.db or postgresql://user@host/name, but found another "
            "text; special characters of a password are written as %40 and so on"
        ) from None
    hidden = {name: _HIDDEN for name in parsed.query if _SECRETS.search(name)}
    shown = parsed.update_query_dict(hidden).render_as_string(hide_password=True)
    return shown.replace(quote(_HIDDEN), _HIDDEN)


def _masked(text: str, url: str) -> str:
    """A message of a database driver without the secrets of the URL."""
    for secret in sorted({form for one in _secrets(url) for form in (one, quote(one), quote_plus(one))}, key=len):
        text = text.replace(secret, _HIDDEN)
    return text


def _make_folder(url: str) -> None:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)


def _first_line(err: BaseException) -> str:
    cause = err.__cause__ or err
    return next(iter(str(cause).strip().splitlines()), type(cause).__name__)
