"""The same function over many items: here, in several processes (joblib), or on a Dask cluster."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from monai_spine.errors import SpineError

Item = TypeVar("Item")
Result = TypeVar("Result")


def run(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int = 1, cluster: str | None = None
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

    Raises
    ------
    SpineError
        If the cluster's package is not installed, or the scheduler does not answer.
    """
    if cluster is not None:
        yield from _on_cluster(function, items, cluster)
    elif workers == 1:
        yield from map(function, items)
    else:
        from joblib import Parallel, delayed

        parallel = Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1, pre_dispatch="3*n_jobs")
        yield from parallel(delayed(function)(item) for item in items)


def _on_cluster(function: Callable[[Item], Result], items: Iterable[Item], address: str) -> Iterator[Result]:
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise SpineError("--cluster needs Dask; install it with: pip install 'monai-spine[cluster]'") from error
    try:
        client = Client(address, timeout="10s", set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise SpineError(f"no Dask scheduler answers at {address}; start one with: dask scheduler") from error
    with client:
        futures = client.map(function, list(items), pure=False, retries=3)
        for future in as_completed(futures, loop=client.loop):
            yield future.result()
            future.release()
