"""The queue on disk: an SQLite file of studies and of the objects to send, which a kill at any moment leaves whole.

A study has a row before its first image is stored, its images are on disk before they are acknowledged, and each
change of its state is one transaction. What is only in memory, such as the time of the last image, may be lost: then
the study waits once more until it is quiet.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from monai_spine.errors import OutputError
from monai_spine.service.queued_study import EMPTY, ENDED, REPEATED, QueuedStudy, State

_SCHEMA = """
CREATE TABLE IF NOT EXISTS studies (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    study_uid TEXT NOT NULL,
    state TEXT NOT NULL,
    created REAL NOT NULL,
    changed REAL NOT NULL,
    images INTEGER NOT NULL DEFAULT 0,
    content TEXT NOT NULL DEFAULT '',
    starts INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    outcome TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    seconds REAL NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS by_uid ON studies (study_uid, state);
CREATE INDEX IF NOT EXISTS by_state ON studies (state, due);
CREATE TABLE IF NOT EXISTS objects (
    number INTEGER NOT NULL REFERENCES studies (number) ON DELETE CASCADE,
    name TEXT NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (number, name)
);
CREATE TABLE IF NOT EXISTS seen (
    study_uid TEXT PRIMARY KEY,
    content TEXT NOT NULL,
    since REAL NOT NULL,
    fetched INTEGER NOT NULL
);
"""

_COLUMNS = ", ".join(field.name for field in fields(QueuedStudy))


@dataclass
class _Arrival:
    """Images of a study that is being received; in memory only."""

    last: float
    storing: int = 0


class StudyQueue:
    """The queue in a file, for all threads of one process.

    Raises
    ------
    OutputError
        If the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._arrivals: dict[int, _Arrival] = {}
        self._grading = 0
        try:
            self._file = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
            # FULL also survives a power cut: an acknowledged image may be deleted by its sender.
            self._file.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
            # UIDs of studies that are forgotten are overwritten.
            self._file.executescript("PRAGMA secure_delete = ON;")
            self._file.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise OutputError(f"{path}: expected the queue of the service, but it cannot be read ({error})") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._file.execute("BEGIN IMMEDIATE")
            try:
                yield self._file
                self._file.execute("COMMIT")
            except BaseException:
                # A full disk may have ended the transaction already, or left it open at its end.
                if self._file.in_transaction:
                    self._file.execute("ROLLBACK")
                raise

    def _studies(self, condition: str, *values: object) -> list[QueuedStudy]:
        with self._lock:
            rows = self._file.execute(f"SELECT {_COLUMNS} FROM studies WHERE {condition}", values).fetchall()  # noqa: S608
        names = [field.name for field in fields(QueuedStudy)]
        return [QueuedStudy(**{**dict(zip(names, row, strict=True)), "state": State(row[2])}) for row in rows]

    def study(self, number: int) -> QueuedStudy:
        """A study by its number."""
        return self._studies("number = ?", number)[0]

    def studies(self, *states: State, limit: int = -1) -> list[QueuedStudy]:
        """Studies in some states, or all; the newest first."""
        chosen = [one.value for one in states or State]
        marks = ", ".join("?" * len(chosen))
        return self._studies(f"state IN ({marks}) ORDER BY number DESC LIMIT ?", *chosen, limit)

    def counts(self) -> dict[State, int]:
        """How many studies are in each state."""
        with self._lock:
            rows = self._file.execute("SELECT state, COUNT(*) FROM studies GROUP BY state").fetchall()
        return dict.fromkeys(State, 0) | {State(state): count for state, count in rows}

    # Receiving

    @contextmanager
    def arrival(self, study_uid: str, now: float | None = None) -> Iterator[int]:
        """The number of the study that an image belongs to, which is not closed while the block stores the image.

        An image of a study that waits to be graded opens it again. One of a study that is being graded, or was graded,
        begins a new study of the same UID.
        """
        with self._lock:
            time_now = time.time() if now is None else now
            waiting = (State.RECEIVING.value, State.COMPLETE.value, self._grading)
            rows = self._studies(
                "study_uid = ? AND state IN (?, ?) AND number != ? ORDER BY number", study_uid, *waiting
            )
            with self._transaction() as file:
                number = rows[-1].number if rows else self._added(file, study_uid, time_now)
                if rows and rows[-1].state is State.COMPLETE:
                    file.execute("UPDATE studies SET state = ? WHERE number = ?", (State.RECEIVING.value, number))
            own = self._arrivals.setdefault(number, _Arrival(time_now))
            own.storing += 1
        try:
            yield number
        finally:
            with self._lock:
                own.storing -= 1
                own.last = time.time() if now is None else now

    @staticmethod
    def _added(file: sqlite3.Connection, study_uid: str, now: float) -> int:
        row = "INSERT INTO studies (study_uid, state, created, changed) VALUES (?, ?, ?, ?)"
        return int(file.execute(row, (study_uid, State.RECEIVING.value, now, now)).lastrowid or 0)

    def quiet(self, seconds: float, now: float | None = None) -> list[QueuedStudy]:
        """Studies of which no image came for so long, the oldest first; after a start, all wait once more."""
        time_now = time.time() if now is None else now
        with self._lock:
            studies = reversed(self.studies(State.RECEIVING))
            return [one for one in studies if self._is_quiet(one.number, seconds, time_now)]

    def _is_quiet(self, number: int, seconds: float, now: float) -> bool:
        own = self._arrivals.setdefault(number, _Arrival(now))
        return not own.storing and now - own.last >= seconds

    def earlier(self, study: QueuedStudy) -> list[QueuedStudy]:
        """Studies of the same UID that came before, the oldest first."""
        return self._studies("study_uid = ? AND number < ? ORDER BY number", study.study_uid, study.number)

    def closed(self, number: int, images: int, content: str, counted: float) -> bool:
        """Note that a study is complete, whose images were counted at a time.

        Returns
        -------
        False if an image came in the meantime, so that it is not. A study that is empty, or whose content was graded
        before, is done; not if it ended the program, since the machine may have more memory now.
        """
        with self._lock:
            own = self._arrivals.get(number)
            if own is not None and (own.storing or own.last >= counted):
                return False
            same = self._studies(
                "study_uid = ? AND content = ? AND number < ? AND state != ? AND reason NOT LIKE ?",
                *(self.study(number).study_uid, content, number, State.EXPIRED.value, f"{ENDED}%"),
            )
            done = bool(same) or not images
            with self._transaction() as file:
                file.execute(
                    "UPDATE studies SET state = ?, images = ?, content = ?, changed = ?, outcome = ?, reason = ? "
                    "WHERE number = ?",
                    (
                        (State.SENT if done else State.COMPLETE).value,
                        images,
                        content,
                        time.time(),
                        "" if not done else REPEATED if same else EMPTY,
                        f"the images of study {same[0].number}" if same else "",
                        number,
                    ),
                )
            self._arrivals.pop(number, None)
            return True

    # Grading

    def next_to_grade(self, now: float | None = None) -> QueuedStudy | None:
        """The oldest complete study that is due."""
        return self._first(State.COMPLETE, now)

    def begun(self, number: int) -> int:
        """Note that the grading begins; how often it was begun by now, or 0 if an image has opened the study again."""
        with self._lock:
            if self.study(number).state is not State.COMPLETE:
                return 0
            self._grading = number
            with self._transaction() as file:
                file.execute("UPDATE studies SET starts = starts + 1 WHERE number = ?", (number,))
            return self.study(number).starts

    def not_graded(self, number: int, due: float, *, counts: bool) -> None:
        """Note that the machine failed: the study is graded again when it is due.

        ``counts`` is whether that counts among the starts, as a study's own failures do.
        """
        with self._transaction() as file:
            self._grading = 0
            file.execute(
                "UPDATE studies SET starts = starts - ?, attempts = attempts + 1, due = ? WHERE number = ?",
                (int(not counts), due, number),
            )

    def graded(self, number: int, names: Sequence[str], outcome: str, reason: str, seconds: float) -> None:
        """Note the objects to send; a study without any is done."""
        state = State.GRADED if names else State.SENT
        with self._transaction() as file:
            self._grading = 0
            file.execute("DELETE FROM objects WHERE number = ?", (number,))
            file.executemany("INSERT INTO objects (number, name) VALUES (?, ?)", [(number, name) for name in names])
            file.execute(
                "UPDATE studies SET state = ?, outcome = ?, reason = ?, seconds = ?, changed = ?, "
                "attempts = 0, due = 0 WHERE number = ?",
                (state.value, outcome, reason, seconds, time.time(), number),
            )

    # Sending

    def next_to_send(self) -> QueuedStudy | None:
        """The oldest graded study that is due."""
        return self._first(State.GRADED)

    def unsent(self, number: int) -> list[str]:
        """The names of its objects that the archive has not confirmed."""
        with self._lock:
            rows = self._file.execute("SELECT name FROM objects WHERE number = ? AND sent = 0 ORDER BY name", (number,))
            return [name for (name,) in rows]

    def confirmed(self, number: int, name: str) -> None:
        """Note that the archive has an object; the study is sent with its last one."""
        with self._transaction() as file:
            file.execute("UPDATE objects SET sent = 1 WHERE number = ? AND name = ?", (number, name))
            (rest,) = file.execute("SELECT COUNT(*) FROM objects WHERE number = ? AND sent = 0", (number,)).fetchone()
            if not rest:
                self._to(file, State.SENT, number)

    @staticmethod
    def _to(file: sqlite3.Connection, state: State, number: int) -> None:
        file.execute("UPDATE studies SET state = ?, changed = ? WHERE number = ?", (state.value, time.time(), number))

    def not_sent(self, number: int, due: float) -> None:
        """Note a failure, and when to try again."""
        with self._transaction() as file:
            file.execute("UPDATE studies SET attempts = attempts + 1, due = ? WHERE number = ?", (due, number))

    def expire(self, number: int) -> bool:
        """Give a study up, unless it is being graded."""
        with self._transaction() as file:
            if number == self._grading:
                return False
            self._to(file, State.EXPIRED, number)
        return True

    def forget(self, before: float) -> None:
        """Delete the rows of studies that have been done since then."""
        with self._transaction() as file:
            file.execute(
                "DELETE FROM studies WHERE state IN (?, ?) AND changed < ?",
                (State.SENT.value, State.EXPIRED.value, before),
            )
            file.execute("DELETE FROM seen WHERE fetched = 1 AND since < ?", (before,))

    def _first(self, state: State, now: float | None = None) -> QueuedStudy | None:
        time_now = time.time() if now is None else now
        rows = self._studies("state = ? AND due <= ? ORDER BY due, number LIMIT 1", state.value, time_now)
        return rows[0] if rows else None

    # Studies of a DICOMweb server

    def unchanged_since(self, study_uid: str, content: str, now: float) -> float | None:
        """Since when a server shows a study with this content; None if the content was fetched before."""
        with self._transaction() as file:
            row = file.execute("SELECT content, since, fetched FROM seen WHERE study_uid = ?", (study_uid,)).fetchone()
            if row is None or row[0] != content:
                file.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, 0)", (study_uid, content, now))
                return now
            return None if row[2] else float(row[1])

    def fetched(self, study_uid: str) -> None:
        """Note that a study was fetched from a server."""
        with self._transaction() as file:
            file.execute("UPDATE seen SET fetched = 1 WHERE study_uid = ?", (study_uid,))
