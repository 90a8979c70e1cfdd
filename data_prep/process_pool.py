"""Processes of this machine that begin at once, keep what they have opened, and work beside this one."""

from __future__ import annotations

import functools
import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from types import TracebackType
from typing import TypeVar

from monai_spine.errors import InvalidOptionError, TransientError

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""From them numpy and PyTorch take their number of threads when they are imported. `thread_count` reads the first."""
AHEAD = 2
"""How many items `Pool.ahead` begins before the one that its caller waits for: each may need the memory of a study."""


def cores() -> int:
    """The processor cores that this process may use."""
    from joblib import cpu_count

    return int(cpu_count())


def processes_of(workers: int) -> int:
    """The number of processes of an option ``--workers``: -1 is one for each core, -2 one less.

    Raises
    ------
    InvalidOptionError
        If it is 0.
    """
    if workers == 0:
        raise InvalidOptionError("expected --workers as a number of processes, or -1 for one per core, but found 0")
    return workers if workers > 0 else max(1, cores() + 1 + workers)


class Pool:
    """Processes of this machine that begin at once, and work beside this one.

    They end with the block, at Ctrl-C, and with this process, in whatever way it ends.

    Parameters
    ----------
    others
        How many there are beside this process; 0 for none.
    first
        What each of them does before it takes the first item: it imports modules, or opens models. Picklable. Its
        errors are not raised here, since this process does the same or will see them at the first item.
    share
        Whether all processes, with this one, share the cores. Libraries that were imported before do not know.
    """

    def __init__(self, others: int, first: Callable[[], object], *, share: bool = True) -> None:
        self.others = others
        self._before = set(multiprocessing.active_children())
        if not others:
            return
        if share:
            for name in THREAD_VARIABLES:
                os.environ.setdefault(name, str(max(1, cores() // (others + 1))))
        self._executor = self._new()
        for _ in range(others):
            _submitted(self._executor, _begin, first)

    def _new(self) -> ProcessPoolExecutor:
        # Not forked: threads of numpy and OpenVINO do not survive that. Not loky's: it ends a process whose memory has
        # grown by 300 MB, which opening models does, with a warning, and the next one opens them again.
        return ProcessPoolExecutor(self.others, multiprocessing.get_context("spawn"), _end_with_parent)

    @property
    def children(self) -> list[BaseProcess]:
        """The other processes."""
        return [child for child in multiprocessing.active_children() if child not in self._before]

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not asked to end: after an error nobody needs what they are doing, and all that they write is whole.
        for child in self.children:
            child.kill()
        if self.others:
            self._executor.shutdown(cancel_futures=True)

    def run(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        if_killed: Callable[[Item], Result] | None = None,
    ) -> Iterator[Result]:
        """Yield the function's results as they come, in any order. This process takes items, too.

        Parameters
        ----------
        if_killed
            Returns the result of an item that is given up: after a process was killed, what it had is done again, item
            by item, and with this one the process was killed again. None if this ends the run.

        Raises
        ------
        SpineError
            If another process is killed twice and there is no ``if_killed``. What it had done stays.
        """
        results = self._shared(function, items, if_killed) if self.others else map(function, items)
        yield from counted_results(results, len(items))

    def ahead(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        if_killed: Callable[[Item], Result] | None = None,
    ) -> Iterator[Result]:
        """Yield the function's results in order. Other processes do all items, and are `AHEAD` of the caller.

        ``if_killed``, and errors: see `run`.
        """
        yield from counted_results(self._ahead(function, items, if_killed), len(items))

    def _ahead(
        self, function: Callable[[Item], Result], items: Iterable[Item], if_killed: Callable[[Item], Result] | None
    ) -> Iterator[Result]:
        begun: deque[tuple[Item, Future[Result]]] = deque()

        def next_results() -> Iterator[Result]:
            if _is_killed(begun[0][1]):
                # All that were handed out ended with the process.
                pairs = list(begun)
                begun.clear()
                yield from self._settled(function, pairs, if_killed)
            else:
                yield begun.popleft()[1].result()

        for item in items:
            begun.append((item, _submitted(self._executor, function, item)))
            if len(begun) > AHEAD:
                yield from next_results()
        while begun:
            yield from next_results()

    def _settled(
        self,
        function: Callable[[Item], Result],
        pairs: Sequence[tuple[Item, Future[Result]]],
        if_killed: Callable[[Item], Result] | None,
    ) -> Iterator[Result]:
        """The results of items that were being done when a process was killed. Those without result are done again.

        One after the other, in the only process beside this one: so each has more memory, and it is known for which of
        them a process is killed again.
        """
        if any(_is_killed(future) for _, future in pairs):
            logger.warning("a worker process was killed, perhaps for lack of memory; what it did is done again, alone")
            self._begin_again()
        for item, earlier in pairs:
            future = _submitted(self._executor, function, item) if _is_killed(earlier) else earlier
            if if_killed is not None and _is_killed(future):
                self._begin_again()
                yield if_killed(item)
            else:
                yield future.result()

    def _begin_again(self) -> None:
        """Without processes: one begins for each item that finds none idle."""
        self._executor.shutdown(cancel_futures=True)
        self._executor = self._new()

    def _shared(
        self, function: Callable[[Item], Result], items: Iterable[Item], if_killed: Callable[[Item], Result] | None
    ) -> Iterator[Result]:
        # Nothing is handed out in advance: at the end, no item waits behind a long one while a process has none.
        left, lock, finished = iter(items), threading.Lock(), SimpleQueue[tuple[Item, Future[Result]]]()
        handed = taken = 0

        def take(here: bool) -> tuple[Item] | None:
            nonlocal handed
            with lock:
                item = next(((item,) for item in left), None)
                handed += not here and item is not None
                return item

        def hand_out() -> None:
            if (item := take(here=False)) is not None:
                future = _submitted(self._executor, function, item[0])
                future.add_done_callback(functools.partial(ended, item[0]))

        def ended(item: Item, future: Future[Result]) -> None:
            # In a thread of the executor, so that no process waits for what this one is doing.
            if not future.cancelled() and future.exception() is None:
                hand_out()
            finished.put((item, future))

        def results(*, wait: bool) -> Iterator[Result]:
            nonlocal taken
            while taken < handed and (wait or not finished.empty()):
                taken += 1
                pairs = [finished.get()]
                killed = _is_killed(pairs[0][1])
                while killed and taken < handed:
                    taken += 1
                    pairs.append(finished.get())
                yield from self._settled(function, pairs, if_killed)
                for _ in range(self.others * killed):
                    hand_out()

        for _ in range(self.others):
            hand_out()
        while (item := take(here=True)) is not None:
            yield function(item[0])
            yield from results(wait=False)
        yield from results(wait=True)


def _is_killed(future: Future[Result]) -> bool:
    """Whether the process of an item was killed. Waits until the item is done."""
    return isinstance(future.exception(), BrokenProcessPool)


def counted_results(results: Iterable[Result], total: int) -> Iterator[Result]:
    """The results.

    Raises
    ------
    TransientError
        If a process is killed; the message says how many of ``total`` results there were.
    """
    done = 0
    try:
        for result in results:
            done += 1
            yield result
    except BrokenProcessPool as error:
        raise lost("a worker process was killed, perhaps for lack of memory", done, total) from error


def lost(what: str, done: int, total: int) -> TransientError:
    """The error of a run that lost its processes; ``what`` says how."""
    return TransientError(
        f"{what}; {done} of {total} tasks were done. Run the command again, with --resume if it has that option, which "
        "keeps what is done, and with fewer --workers if memory was short"
    )


def _submitted(executor: ProcessPoolExecutor, function: Callable[[Item], Result], item: Item) -> Future[Result]:
    try:
        with _interrupts_blocked():  # it may begin a process
            return executor.submit(function, item)
    except BrokenProcessPool as error:
        failed: Future[Result] = Future()
        failed.set_exception(error)
        return failed


def _begin(first: Callable[[], object]) -> None:
    """Without a result: models that are open cannot be sent to another process."""
    first()


def _end_with_parent() -> None:
    """Let this process end with its parent, even if that is killed: nobody would take its results."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes that begin here do not get Ctrl-C, which a terminal sends to all: this process ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
