"""Executors: the same tasks, run serially, in threads, in processes, or on a Dask cluster.

The serial executor is the oracle: the others must give the same results. The only room that imports dask.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from landcover_cli.errors import ConfigError, InputError, LcError


@dataclass(frozen=True)
class Outcome:
    """What became of one task.

    Attributes:
        index: Position of the task.
        value: What the function returned; None after an error.
        error: What it raised, or None.
    """

    index: int
    value: Any = None
    error: Exception | None = None


class Executor(Protocol):
    """Runs a function over tasks; outcomes come as they are ready, in any order."""

    in_process: bool
    """Whether tasks see this process' memory (callbacks work)."""

    def run(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Outcome]:
        """Yield one outcome per task."""
        ...

    def abort(self) -> None:
        """Give up what has not started; kill what can be killed."""
        ...


class SerialExecutor:
    """One task after the other, in this thread."""

    in_process = True

    def run(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Outcome]:
        """Yield outcomes in order."""
        for index, task in enumerate(tasks):
            yield _attempt(index, partial(function, task))

    def abort(self) -> None:
        """Nothing runs beside the caller."""


class PoolExecutor:
    """Threads or processes of this machine."""

    def __init__(self, pool: Pool, *, in_process: bool) -> None:
        self._pool = pool
        self.in_process = in_process

    def run(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Outcome]:
        """Yield outcomes as they complete."""
        futures: dict[Future[Any], int] = {self._pool.submit(function, task): index for index, task in enumerate(tasks)}
        try:
            for future in as_completed(futures):
                yield _attempt(futures[future], future.result)
        finally:
            for future in futures:
                future.cancel()

    def abort(self) -> None:
        """Cancel the queue; worker processes are killed, threads end at their next check."""
        processes = list((getattr(self._pool, "_processes", None) or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()


class DaskExecutor:
    """A dask.distributed cluster: one task per unit."""

    in_process = False

    def __init__(self, client: Any) -> None:
        self._client = client

    def run(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Outcome]:
        """Yield outcomes as they complete; a lost worker's tasks are retried by the scheduler."""
        from distributed import as_completed as dask_as_completed

        # pure=False: results are published by their key on disk; the cluster shall not remember them.
        futures = {self._client.submit(function, task, pure=False): index for index, task in enumerate(tasks)}
        try:
            for future in dask_as_completed(list(futures)):
                yield _attempt(futures[future], future.result)
        finally:
            self._client.cancel(list(futures))

    def abort(self) -> None:
        """The client's exit ends a local cluster; tasks on a remote one were cancelled."""


def _attempt(index: int, call: Callable[[], Any]) -> Outcome:
    try:
        return Outcome(index, call())
    except BrokenProcessPool:
        return Outcome(
            index,
            error=LcError(
                "a worker process died (killed, or out of memory)",
                remedy="use fewer workers or less memory per worker; finished units are kept",
            ),
        )
    except Exception as error:  # noqa: BLE001  the outcome carries it to the one who decides
        return Outcome(index, error=error)


@contextmanager
def open_executor(kind: str, workers: int, scheduler: str | None = None, memory_bytes: int = 0) -> Iterator[Executor]:
    """An executor of a kind, closed at the end.

    Args:
        kind: ``serial``, ``threads``, ``processes`` or ``dask``.
        workers: Tasks at a time.
        scheduler: Address of a Dask scheduler; None starts a local cluster.
        memory_bytes: Memory limit of all local Dask workers together; 0 for none.

    Raises:
        ConfigError: Unknown kind.
        InputError: No scheduler answers at the address.
    """
    if kind == "serial":
        yield SerialExecutor()
    elif kind == "threads":
        with ThreadPoolExecutor(workers, thread_name_prefix="lc") as threads:
            yield PoolExecutor(threads, in_process=True)
    elif kind == "processes":
        # spawn: torch and GDAL hold threads and locks that a forked child would inherit half-way.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as processes:
            yield PoolExecutor(processes, in_process=False)
    elif kind == "dask":
        with _dask_client(workers, scheduler, memory_bytes) as client:
            yield DaskExecutor(client)
    else:
        raise ConfigError(f"unknown executor {kind!r}", remedy="use serial, threads, processes or dask")


@contextmanager
def _dask_client(workers: int, scheduler: str | None, memory_bytes: int) -> Iterator[Any]:
    import logging

    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.ERROR)
    if scheduler:
        try:
            client = Client(scheduler, timeout="10s")
        except (OSError, ValueError) as error:
            raise InputError(
                f"no Dask scheduler answers at {scheduler} ({error})", remedy="start it, or leave --scheduler out"
            ) from None
        with client:
            yield client
        return
    limit = memory_bytes // workers if memory_bytes else 0
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            host="127.0.0.1",
            memory_limit=limit,
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
