"""Processes of this machine that begin at once, keep what they have opened, and work beside this one."""

from __future__ import annotations

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

Item = TypeVar("Item")
Result = TypeVar("Result")

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""From them numpy and PyTorch take their number of threads when they are imported. `thread_count` reads the first."""


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
        self._children: list[BaseProcess] = []
        if not others:
            return
        if share:
            for name in THREAD_VARIABLES:
                os.environ.setdefault(name, str(max(1, cores() // (others + 1))))
        # Not forked: threads of numpy and OpenVINO do not survive that. Not loky's: it ends a process whose memory has
        # grown by 300 MB, which opening models does, with a warning, and the next one opens them again.
        self._executor = ProcessPoolExecutor(others, multiprocessing.get_context("spawn"), _end_with_parent)
        before = set(multiprocessing.active_children())
        with _interrupts_blocked():
            for _ in range(others):
                self._executor.submit(_begin, first)
        self._children = list(set(multiprocessing.active_children()) - before)

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not asked to end: after an error nobody needs what they are doing, and all that they write is whole.
        for child in self._children:
            child.kill()
        if self._children:
            self._executor.shutdown(cancel_futures=True)

    def run(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Yield the function's results as they come, in any order. This process takes items, too.

        Raises
        ------
        SpineError
            If another process is killed. What it had done stays.
        """
        yield from counted_results(self._shared(function, items) if self.others else map(function, items), len(items))

    def ahead(self, function: Callable[[Item], Result], items: Sequence[Item], most: int = 2) -> Iterator[Result]:
        """Yield the function's results in order. Other processes do all items, and are ``most`` ahead of the caller.

        Raises
        ------
        SpineError
            If another process is killed.
        """
        yield from counted_results(self._ahead(function, items, most), len(items))

    def _ahead(self, function: Callable[[Item], Result], items: Iterable[Item], most: int) -> Iterator[Result]:
        futures: deque[Future[Result]] = deque()
        for item in items:
            futures.append(self._executor.submit(function, item))
            if len(futures) > most:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()

    def _shared(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        # Nothing is handed out in advance: at the end, no item waits behind a long one while a process has none.
        left, lock, finished = iter(items), threading.Lock(), SimpleQueue[Future[Result]]()
        handed = taken = 0

        def take(here: bool) -> tuple[Item] | None:
            nonlocal handed
            with lock:
                item = next(((item,) for item in left), None)
                handed += not here and item is not None
                return item

        def hand_out() -> None:
            if (item := take(here=False)) is not None:
                _submitted(self._executor, function, item[0]).add_done_callback(ended)

        def ended(future: Future[Result]) -> None:
            # In a thread of the executor, so that no process waits for what this one is doing.
            if not future.cancelled() and future.exception() is None:
                hand_out()
            finished.put(future)

        for _ in range(self.others):
            hand_out()
        while (item := take(here=True)) is not None:
            yield function(item[0])
            while not finished.empty():
                taken += 1
                yield finished.get().result()
        while taken < handed:
            taken += 1
            yield finished.get().result()


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
