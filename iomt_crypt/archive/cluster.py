"""Work spread over processes by dask.distributed: a cluster of this machine's own, or one that runs already.

A process that dies takes nothing with it: the scheduler gives its batch to another one, which is told that it is not
the first to try. Processes that execute what a scheduler sends run whatever anybody sends who reaches it: between hosts
use ``tls://``.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

from iomt_crypt import __version__
from iomt_crypt.archive.batch import Pace
from iomt_crypt.archive.operation import Item, Operation, Outcome, Worker
from iomt_crypt.archive.scheduler import Scheduler
from iomt_crypt.archive.tree import Found
from iomt_crypt.errors import ConfigurationError, IomtCryptError, KeyMaterialError, NetworkError

Batch = list[Found]
_TIMEOUT_S = 30
_IN_FLIGHT = 2  # batches for each thread of the cluster: one to work on, one that waits
_NAMESPACE = "iomt-crypt"


class Cluster:
    """Executor of `run_tree` on other processes."""

    def __init__(self, operation: Operation, workers: int, scheduler: Scheduler | None) -> None:
        self._operation, self._workers, self._scheduler = operation, workers, scheduler
        self._run = uuid.uuid4().hex

    def __enter__(self) -> Cluster:
        if self._scheduler and not self._scheduler.encrypted and getattr(self._operation, "secret", False):
            raise KeyMaterialError(
                "a passphrase would be sent over tcp://, where others can read it",
                hint="use tls://, --workers, or key files without a passphrase that the workers can read",
            )
        try:
            import distributed  # noqa: F401
        except ImportError:
            raise ConfigurationError("distributed is not installed", hint="pip install 'iomt-crypt[archive]'") from None
        self._held = ExitStack()
        try:
            self._client = self._connect(self._held)
            self._check_versions()
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):  # workers that are gone have nothing to give back
            self._client.run(close_workers, self._run, on_error="ignore")
            self._client.set_metadata([_NAMESPACE, self._run], {})
        self._held.close()

    def _connect(self, held: ExitStack) -> Any:
        from distributed import Client, LocalCluster
        from distributed.security import Security

        if self._scheduler is None:
            security = Security.temporary()
            cluster = LocalCluster(
                n_workers=self._workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                protocol="tls://",
                security=security,
                dashboard_address=None,
                memory_limit=0,  # one object may need more than an equal share
                silence_logs=50,
            )
            return held.enter_context(Client(held.enter_context(cluster), security=security, set_as_default=False))
        address = self._scheduler.address
        try:
            client = held.enter_context(
                Client(address, security=self._scheduler.security(), timeout=_TIMEOUT_S, set_as_default=False)
            )
            client.wait_for_workers(1, timeout=_TIMEOUT_S)
        except OSError as error:  # TimeoutError and failed handshakes are such
            raise NetworkError(
                f"{address}: no answer from a scheduler with workers within {_TIMEOUT_S} s",
                hint="start it with 'dask scheduler' and at least one 'dask worker'; with TLS check the certificates",
            ) from error
        return client

    def _check_versions(self) -> None:
        try:
            found = self._client.run(_version)
        except Exception as error:
            raise ConfigurationError(
                f"the workers cannot load iomt-crypt ({type(error).__name__})",
                hint="install the same version of iomt-crypt for them",
            ) from error
        for worker, version in found.items():
            if version != __version__:
                raise ConfigurationError(
                    f"worker {worker} has iomt-crypt {version}, this is {__version__}", hint="install the same version"
                )

    def map(self, stream: Iterator[Batch], pace: Pace) -> Iterator[tuple[Batch, list[Outcome]]]:
        """See `iomt_crypt.archive.runner.Executor`."""
        from distributed import wait

        flying: dict[Any, tuple[Batch, int]] = {}
        free: list[int] = []
        n_slots = 0
        try:
            while True:
                limit = max(1, _IN_FLIGHT * self._n_threads())
                free += range(n_slots, limit)
                n_slots = max(n_slots, limit)
                while len(flying) < limit and (batch := next(stream, None)) is not None:
                    slot = free.pop()
                    flying[self._submit(batch, slot)] = (batch, slot)
                if not flying:
                    return
                for future in self._finished(flying, wait):
                    batch, slot = flying.pop(future)
                    free.append(slot)
                    yield from self._collect(future, batch, pace)
        finally:
            self._abandon(flying)

    def _n_threads(self) -> int:
        return sum(self._client.nthreads().values())

    def _submit(self, batch: Batch, slot: int) -> Any:
        items = [found.item for found in batch]
        ticket = (self._run, slot, uuid.uuid4().hex)
        return self._client.submit(run_batch, self._operation, items, ticket, key=f"iomt-{ticket[2]}", pure=False)

    def _finished(self, flying: dict[Any, tuple[Batch, int]], wait: Any) -> list[Any]:
        """At least one future that is finished; raises when the scheduler is gone."""
        while True:
            with suppress(TimeoutError):
                return list(wait(list(flying), timeout=1, return_when="FIRST_COMPLETED").done)
            if self._client.status not in ("running", "connecting"):
                raise self._gone()

    def _collect(self, future: Any, batch: Batch, pace: Pace) -> Iterator[tuple[Batch, list[Outcome]]]:
        from distributed import KilledWorker

        try:
            outcomes, seconds = future.result(timeout=_TIMEOUT_S)
        except KilledWorker:
            yield from self._one_by_one(batch)
            return
        except IomtCryptError:
            raise
        except Exception as error:
            if future.cancelled() or self._client.status != "running":
                raise self._gone() from error
            raise
        pace.observe(len(batch), seconds)
        yield batch, outcomes

    def _one_by_one(self, batch: Batch) -> Iterator[tuple[Batch, list[Outcome]]]:
        """A batch that killed one process after the other: find the object that does."""
        if len(batch) == 1:
            reason = "the process that worked on it was killed, again and again"
            yield batch, [Outcome(batch[0].item.location, "failed", reason, "often too little memory for this object")]
            return
        for found in batch:
            one = [Found(replace(found.item, again=True), found.size, found.mtime_ns)]
            yield from self._collect(self._submit(one, -1), one, Pace())

    def _gone(self) -> NetworkError:
        return NetworkError(
            "the scheduler is gone", hint="with --journal the same command goes on where this one stopped"
        )

    def _abandon(self, flying: dict[Any, tuple[Batch, int]]) -> None:
        if flying:
            with suppress(Exception):  # on the way out of another error, or of Ctrl-C
                self._client.cancel(list(flying), force=True)


# What follows runs in the workers.

_lock = threading.Lock()
_workers: dict[tuple[str, int], Worker] = {}


def run_batch(operation: Operation, items: list[Item], ticket: tuple[str, int, str]) -> tuple[list[Outcome], float]:
    """Outcomes of ``items``, and the seconds they took."""
    run, slot, serial = ticket
    if _was_begun(run, slot, serial):
        items = [replace(item, again=True) for item in items]
    key = (run, threading.get_ident())
    with _lock:
        worker = _workers.get(key)
    if worker is None:
        worker = operation.open()
        with _lock:
            _workers[key] = worker
    began = time.perf_counter()
    return worker.run(items), time.perf_counter() - began


def _was_begun(run: str, slot: int, serial: str) -> bool:
    """Whether another process began this batch: it has put the batch's serial into the scheduler's slot."""
    from distributed import get_client

    client: Any = get_client()
    path = [_NAMESPACE, run, str(slot)]
    if client.get_metadata(path, default=None) == serial:
        return True
    client.set_metadata(path, serial)
    return False


def close_workers(run: str) -> None:
    """Close what this process has open for ``run``."""
    with _lock:
        mine = [key for key in _workers if key[0] == run]
        closing = [_workers.pop(key) for key in mine]
    for worker in closing:
        worker.close()


def _version() -> str:
    return __version__
