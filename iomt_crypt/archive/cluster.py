"""Work spread over processes by dask.distributed: a cluster of this machine's own, or one that runs already.

A process that dies takes nothing with it: the scheduler gives its batch to another one, which is told that it is not
the first to try. Processes that execute what a scheduler sends run whatever anybody sends who reaches it: between hosts
use ``tls://``.
"""

from __future__ import annotations

import signal
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from queue import Empty, SimpleQueue
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


@dataclass(frozen=True)
class _Flight:
    """A batch on its way. ``alone``: one object that was in a batch whose processes died."""

    batch: Batch
    alone: bool = False
    slot: int = 0


class Cluster:
    """Executor of `run_tree` on other processes."""

    def __init__(self, operation: Operation, workers: int, scheduler: Scheduler | None) -> None:
        self._operation, self._workers, self._scheduler = operation, workers, scheduler
        self._run = uuid.uuid4().hex
        self._flying: dict[Any, _Flight] = {}
        self._landed: SimpleQueue[Any] = SimpleQueue()

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
        from distributed import Client

        if self._scheduler is None:
            return _own_cluster(self._workers, held)
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
        suspects: deque[Found] = deque()
        slots: list[int] = []
        n_slots = 0
        try:
            while True:
                limit = max(1, _IN_FLIGHT * self._n_threads())
                slots += range(n_slots, limit)
                n_slots = max(n_slots, limit)
                while (flight := self._next(stream, suspects, limit)) is not None:
                    self._submit(replace(flight, slot=slots.pop()))
                if not self._flying:
                    return
                flight, result = self._land()
                slots.append(flight.slot)
                if result is None and not flight.alone:
                    suspects += flight.batch
                    continue
                outcomes, seconds = result or ([_killer(flight.batch[0])], 0.0)
                if not flight.alone:
                    pace.observe(len(flight.batch), seconds)
                yield flight.batch, outcomes
        finally:
            self._abandon()

    def _next(self, stream: Iterator[Batch], suspects: deque[Found], limit: int) -> _Flight | None:
        """What to send next, if anything: objects of a batch whose process died each go alone, so that none is blamed
        for another.
        """
        if suspects or any(flight.alone for flight in self._flying.values()):
            if self._flying:
                return None
            return _Flight([suspects.popleft().again()], alone=True)
        if len(self._flying) >= limit:
            return None
        batch = next(stream, None)
        return _Flight(batch) if batch is not None else None

    def _n_threads(self) -> int:
        return sum(self._client.nthreads().values())

    def _submit(self, flight: _Flight) -> None:
        items = [found.item for found in flight.batch]
        ticket = (self._run, flight.slot, uuid.uuid4().hex)
        future = self._client.submit(run_batch, self._operation, items, ticket, key=f"iomt-{ticket[2]}", pure=False)
        self._flying[future] = flight
        future.add_done_callback(self._landed.put)

    def _land(self) -> tuple[_Flight, tuple[list[Outcome], float] | None]:
        """The next batch that comes back, with outcomes and seconds; None when it cost one process after the other.

        Raises
        ------
        NetworkError
            The scheduler is gone.
        IomtCryptError
            The operation cannot be opened there: no batch could be done.
        """
        from distributed import KilledWorker

        while True:
            with suppress(Empty):
                future = self._landed.get(timeout=1)
                break
            if self._client.status not in ("running", "connecting"):
                raise self._gone()
        flight = self._flying.pop(future)
        while True:
            try:
                return flight, future.result(timeout=_TIMEOUT_S)
            except KilledWorker:
                return flight, None
            except IomtCryptError:
                raise
            except TimeoutError:
                # The worker died before it handed its result over, and the batch is being done again.
                if self._client.status not in ("running", "connecting"):
                    raise self._gone() from None
            except Exception as error:
                if future.cancelled() or self._client.status != "running":
                    raise self._gone() from error
                raise

    def _gone(self) -> NetworkError:
        return NetworkError(
            "the scheduler is gone", hint="with --journal the same command goes on where this one stopped"
        )

    def _abandon(self) -> None:
        if self._flying:
            with suppress(Exception):  # on the way out of another error, or of Ctrl-C
                self._client.cancel(list(self._flying), force=True)


def _killer(found: Found) -> Outcome:
    reason = "the process that worked on it was killed, again and again"
    return Outcome(found.item.location, "failed", reason, "often there is too little memory for such an object")


def _own_cluster(workers: int, held: ExitStack) -> Any:
    """Client of a cluster that only this process can talk to: certificates of its own, no pages for browsers."""
    import dask
    from distributed import Client, LocalCluster
    from distributed.security import Security

    security = Security.temporary()
    no_pages: dict[str, list[str]] = {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}
    with _without_interrupts(), dask.config.set(no_pages):
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            protocol="tls://",
            security=security,
            dashboard_address=None,
            memory_limit=0,  # one object may need more than an equal share
            silence_logs=50,
            scheduler_kwargs={
                "allowed_failures": 1,  # objects of a batch that kills twice go alone
                "dashboard_address": "127.0.0.1:0",
            },
        )
    return held.enter_context(Client(held.enter_context(cluster), security=security, set_as_default=False))


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Threads and processes that begin here never get Ctrl-C: this process is told, and ends them.

    They inherit the mask; what comes meanwhile is delivered afterwards.
    """
    resource_tracker.ensure_running()  # starting it later would unblock the signal again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
    from distributed import get_worker
    from distributed.utils import sync

    here: Any = get_worker()
    path = [_NAMESPACE, run, str(slot)]
    # Asked over the worker's own connection: a client of its own would cost a second at start and at the end.
    if sync(here.loop, here.scheduler.get_metadata, keys=path, default=None) == serial:
        return True
    sync(here.loop, here.scheduler.set_metadata, keys=path, value=serial)
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
