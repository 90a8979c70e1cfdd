"""The same function over many items: here, in several processes (joblib), or on a Dask cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from data_prep.process_pool import counted_results, lost
from monai_spine.errors import SpineError

if TYPE_CHECKING:
    from distributed import Client

Item = TypeVar("Item")
Result = TypeVar("Result")


def run(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int = 1,
    cluster: str | None = None,
    resources: Mapping[str, float] | None = None,
    *,
    if_killed: Callable[[Item], Result] | None = None,
) -> Iterator[Result]:
    """Yield the function's results as they come, in any order.

    Parameters
    ----------
    function
        Picklable, and safe to run twice on an item: a cluster repeats the tasks of a worker that died.
    workers
        Processes on this machine; 1 runs everything in this one.
    cluster
        Address of a Dask scheduler, instead of local processes.
    resources
        What a worker of the cluster needs for each item, of that with which it was started, such as one ``GPU``.
    if_killed
        Of a cluster: returns the result of an item that ended several workers, one after the other, also with no other
        item. None if such an item ends the run.

    Raises
    ------
    SpineError
        If the cluster's package is not installed, if the scheduler does not answer or is killed, or if workers are
        killed and there is no ``if_killed``.
    """
    if cluster is not None:
        yield from _on_cluster(function, list(items), cluster, resources, if_killed)
    elif workers == 1:
        yield from map(function, items)
    else:
        yield from _in_processes(function, list(items), workers)


def _in_processes(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    from joblib import Parallel, delayed

    parallel = Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1, pre_dispatch="3*n_jobs")
    yield from counted_results(parallel(delayed(function)(item) for item in items), len(items))


@contextmanager
def _quiet_client() -> Iterator[None]:
    """Dask logs a traceback whenever a connection is lost; our own error says it in one line."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _closed_at_end(client: Client) -> Iterator[None]:
    """Close a client, whatever its scheduler has become."""
    try:
        yield
    finally:
        # While a client looks for a scheduler that is gone, closing it fails if its time is up in the same moment. This
        # must not take the place of the error that says what happened.
        with suppress(RuntimeError, OSError, TimeoutError):
            client.close()


_ANSWERS_WITHIN = "10s"
"""How long a scheduler may take to answer, at the beginning and after a connection was lost."""


def connect(address: str) -> Client:
    """A client of a Dask scheduler, to be closed by a ``with`` block.

    Raises
    ------
    SpineError
        If Dask is not installed or no scheduler answers.
    """
    try:
        from distributed import Client
        from distributed.comm.addressing import parse_address
        from distributed.comm.registry import get_backend
    except ImportError as error:
        raise SpineError("--cluster needs Dask; install it with: pip install 'monai-spine[cluster]'") from error
    try:
        # A client that was not made well takes half a minute to end, with a traceback.
        scheme, location = parse_address(address)
        with suppress(NotImplementedError):
            get_backend(scheme).get_address_host_port(location)
        return Client(address, timeout=_ANSWERS_WITHIN, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise SpineError(f"no Dask scheduler answers at {address}; start one with: dask scheduler") from error


_AHEAD = 4
"""Tasks that each thread of a cluster is given in advance. Not all: a worker that dies is a failure of every task
that it had, and Dask gives up a task after four of these (its ``allowed-failures``)."""


def _threads(client: Client) -> int:
    try:
        return sum(client.nthreads().values())
    except OSError as error:  # not to be taken for an error of a task
        raise TimeoutError(str(error)) from error


def _on_cluster(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    address: str,
    resources: Mapping[str, float] | None,
    if_killed: Callable[[Item], Result] | None,
) -> Iterator[Result]:
    client = connect(address)
    from distributed import CancelledError, Future, KilledWorker, as_completed
    from distributed.comm import CommClosedError

    own: dict[object, Item] = {}
    pending = as_completed(loop=client.loop)

    def submit(more: Sequence[Item]) -> None:
        needs = dict(resources) if resources else None
        # A call for many: the function is sent once for each call.
        futures: list[Future[Result]] = client.map(function, list(more), pure=False, retries=3, resources=needs)
        own.update(zip((future.key for future in futures), more, strict=True))
        pending.update(futures)

    done, begun, suspects = 0, 0, list[Item]()
    with _quiet_client(), _closed_at_end(client):
        try:
            while begun < len(items) or own or suspects:
                most = _AHEAD * max(1, _threads(client))
                if begun < len(items) and len(own) <= most // 2:
                    more = items[begun : begun + most]
                    begun += len(more)
                    submit(more)
                alone = not own
                if alone:
                    submit([suspects.pop()])
                for future in pending.next_batch():
                    item = own.pop(future.key)
                    if if_killed is not None and isinstance(future.exception(), KilledWorker):
                        if not alone:
                            suspects.append(item)
                            continue
                        result = if_killed(item)
                    else:
                        result = future.result()
                    done += 1
                    yield result
                    future.release()
        except KilledWorker as error:
            raise lost("a task ended several Dask workers, one after the other", done, len(items)) from error
        except (CancelledError, CommClosedError, TimeoutError) as error:
            raise lost(f"the Dask scheduler at {address} does not answer any more", done, len(items)) from error
