"""The supervisor of several workers that share the listen addresses. It restarts workers and has the admin port."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

from authgate.compose import CompositionError, Dependencies
from authgate.compose.generation import run_forever
from authgate.compose.tokens import token_issuer
from authgate.errors import Reason
from authgate.model import Unavailable
from authgate.observability.exposition import Exposition
from authgate.observability.figures import figures_of
from authgate.observability.log import event, set_level
from authgate.observability.metrics import Metrics
from authgate.server.admin import Check, Readiness, admin_runner
from authgate.server.admin.access import AdminRequest, Admission, refused
from authgate.server.admin.status import ConfigurationDetails, Inspection
from authgate.server.exchange import signed_documents
from authgate.server.listeners import ListenError, Listeners, SharedAddresses
from authgate.service.channel import Inspect, Keys
from authgate.service.process import ClockWatch, SystemClock, reap_orphans
from authgate.service.reload import Reloader
from authgate.service.restart_only import keep_restart_only
from authgate.service.signals import Signals
from authgate.service.slot import Slot
from authgate.service.status import Inspected, StatusBoard
from authgate.service.summary import log_start
from authgate.service.worker import Inheritance, fork_worker
from authgate.vocabulary import SERVICE_ACCOUNT_DIR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from authgate.config import Config
    from authgate.model import Clock
    from authgate.observability.counter_store import CounterStore
    from authgate.server.admin.status import GateStatus
    from authgate.service.channel import Report
    from authgate.service.reload import ConfigFile

_TURN = 0.25
_STOP_GRACE = 5.0
_UNREADABLE = 1.0
_DECISION_PATIENCE = 10.0
"""Seconds in which a worker must decide a request to the admin port. It may have to fetch a key or review a token."""
_FIRST_PATIENCE = 5.0
"""Seconds after which another worker is asked: the first one may be stuck."""
_PATIENCE = 2.0
"""Seconds in which a worker must answer a question for the page."""


def supervise(
    config: Config,
    environ: Mapping[str, str],
    workers: int,
    *,
    file: ConfigFile | None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None,
    service_account_dir: str = SERVICE_ACCOUNT_DIR,
) -> None:
    """Serve with several workers until a signal ends it; raise `CompositionError` or `ListenError` at start."""
    if not hasattr(socket, "SO_REUSEPORT") or not hasattr(os, "fork"):
        raise ListenError("server.workers: this system cannot share a port between processes; set it to 1")
    # Workers are forked between two runs of the loop. It is asyncio's, because uvloop's does not survive a fork.
    with asyncio.Runner() as runner:
        supervisor = _Supervisor(config, workers, file)
        try:
            runner.run(supervisor.open())
            while (slot := runner.run(supervisor.next_start())) is not None:
                inheritance = Inheritance(
                    config=supervisor.config_of(slot),
                    environ=environ,
                    service_account_dir=service_account_dir,
                    addresses=supervisor.addresses,
                    memory=slot.memory,
                    loop_factory=loop_factory,
                )
                runner.run(slot.start(*fork_worker(inheritance), supervisor.on_report))
                if supervisor.config_of(slot) is not inheritance.config:
                    slot.kill()  # a reload happened before the worker could take part in it
        finally:
            runner.run(supervisor.close())


class _Supervisor:
    def __init__(
        self, config: Config, workers: int, file: ConfigFile | None, clock: Clock | None = None
    ) -> None:
        self.config = config
        self.addresses = SharedAddresses()
        self._clock = clock or SystemClock()
        self._metrics = Metrics()
        self._slots = [Slot(index, self._clock) for index in range(workers)]
        self._admin = Listeners()
        self._board = StatusBoard(self._clock)
        self._unread = ConfigurationDetails(applied_at=self._clock.now())
        self._file = None if file is None else file.path
        self._reloader = Reloader(file, config, self._adopt, self._metrics) if file else None
        self._starts: asyncio.Queue[Slot] = asyncio.Queue()
        self._serving: asyncio.Task[None] | None = None
        self._served = False
        self._failures: asyncio.Queue[str] = asyncio.Queue()
        self._until_closed = ExitStack()
        self._ending = False
        self._attempts = -1
        self._signed: tuple[Config | None, dict[str, bytes]] = (None, {})
        self._unsigned_until = -math.inf

    async def open(self) -> None:
        """Handle signals, reserve the addresses and open the admin port; raise `ListenError`."""
        signals = self._until_closed.enter_context(Signals(self._reloader.ask if self._reloader else None))
        self.config = self._with_real_addresses()
        if self.config.server.admin is not None:
            exposition = Exposition(
                lambda: figures_of(self._stores()),
                lambda: [os.getpid(), *(slot.pid for slot in self._slots if slot.alive)],
            )
            await self._admin.open(
                admin_runner(
                    exposition,
                    readiness=self._readiness,
                    status=self._status,
                    guard=self,
                    documents=self._documents,
                    metrics=self._metrics,
                ),
                self.config.server.admin,
            )
        self._metrics.count_reload("success")
        self._serving = asyncio.create_task(self._serve(signals))

    def config_of(self, slot: Slot) -> Config:
        """Return the configuration of a new worker: the one on trial in its slot, else the last good one."""
        return self.config if slot.trial is None else slot.trial

    async def next_start(self) -> Slot | None:
        """Return the next slot that needs a worker, or None when the supervisor must close."""
        if self._serving is None:
            raise AssertionError("open the supervisor first")
        wanted = asyncio.create_task(self._starts.get())
        await asyncio.wait((wanted, self._serving), return_when=asyncio.FIRST_COMPLETED)
        if not self._serving.done():
            return wanted.result()
        wanted.cancel()
        self._serving.result()
        return None

    def _documents(self) -> dict[str, bytes]:
        """Return the documents with which others verify the workers' tokens, by path."""
        config, documents = self._signed
        # Called for every unknown path. The files are read once per configuration, and once a second if they are bad.
        if config is self.config:
            return documents
        now = self._clock.monotonic()
        if now < self._unsigned_until:
            return {}
        try:
            issuer = token_issuer(
                self.config, Dependencies(clock=self._clock, metrics=self._metrics, environ={})
            )
        except CompositionError:
            self._unsigned_until = now + _UNREADABLE  # a file is being replaced
            return {}
        documents = signed_documents(issuer) if issuer else {}
        self._signed = self.config, documents
        return documents

    def on_report(self, sender: Slot, report: Report) -> None:
        """Handle a worker's message, and forward keys to the other workers."""
        if isinstance(report, Keys):
            for slot in self._slots:
                if slot is not sender:
                    slot.forward_keys(report)
        self._update()

    def _update(self) -> None:
        self._metrics.workers = sum(slot.listening for slot in self._slots)
        if self._served:
            return
        for slot in self._slots:
            if slot.failure is not None:
                self._failures.put_nowait(slot.failure)
        if all(slot.listening for slot in self._slots):
            self._served = True
            log_start(
                self.config,
                file=self._file,
                verify=", ".join(map(str, self.config.server.listen)),
                admin=self._admin.addresses[0] if self._admin.addresses else "",
                grpc=str(self.config.server.grpc or ""),
                exchange="" if self.config.exchange is None else str(self.config.exchange.listen),
                workers=len(self._slots),
                keys={},  # each worker has its own
            )

    async def close(self) -> None:
        """Let the workers finish, for at most `shutdown.timeout` and 5 seconds, then close the admin port."""
        self._ending = True
        self.addresses.close()
        for slot in self._slots:
            slot.stop()
        until = self._clock.monotonic() + self.config.shutdown.timeout + _STOP_GRACE
        while any(slot.alive for slot in self._slots):
            if self._clock.monotonic() >= until:
                for slot in self._slots:
                    slot.kill()
            for slot in self._slots:
                slot.reap()
            await asyncio.sleep(_TURN / 10)
        await self._admin.close()
        self._until_closed.close()

    async def _serve(self, signals: Signals) -> None:
        """Keep the workers running until a signal; raise `CompositionError` if they cannot start."""
        tasks = [asyncio.create_task(self._keep_running())]
        if self._reloader is not None:
            tasks.append(asyncio.create_task(run_forever(self._reloader.run, self._metrics)))
        ended = asyncio.create_task(signals.end(self.config.shutdown.delay, self._start_shutdown))
        tasks += (ended, asyncio.create_task(self._startable()))
        done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for task in done:
            task.result()

    async def _startable(self) -> None:
        raise CompositionError(await self._failures.get())

    def _start_shutdown(self) -> None:
        self._ending = True
        for slot in self._slots:
            slot.drain()

    async def _keep_running(self) -> None:
        watch = ClockWatch()
        while True:
            watch.look(self._clock.now())
            if self._admin.addresses:
                self._board.observe(self._stores())
            for slot in self._slots:
                slot.pass_time(_TURN)
                self._on_exit(slot)
                if slot.claim_start():
                    self._starts.put_nowait(slot)
            if not any(slot.starting for slot in self._slots):  # else a worker may not be in its place yet
                reap_orphans({slot.pid for slot in self._slots})
            await asyncio.sleep(_TURN)

    def _on_exit(self, slot: Slot) -> None:
        reason = slot.reap()
        if reason is None:
            return
        self._update()
        self._metrics.worker_restarts[reason] += 1
        event(
            logging.ERROR,
            "a worker ended; a new one starts",
            worker=slot.name,
            reason=reason,
            state=slot.checks()[0].detail,
            error_message=slot.failure or "",
        )

    async def _adopt(self, config: Config) -> None:
        """Let every worker apply a configuration. One tries it first; the others follow only if it succeeds.

        Attempts rotate over the workers. If no worker listens, one starts with the new configuration, and the last good
        configuration is kept until that worker listens. A worker that starts meanwhile has the previous configuration,
        and follows as soon as it listens.
        """
        config = keep_restart_only(self.config, config)
        self._attempts += 1
        order = [
            self._slots[(self._attempts + place) % len(self._slots)] for place in range(len(self._slots))
        ]
        first = next((slot for slot in order if slot.listening), None)
        if first is not None:
            error = await first.adopt(config)
        else:
            first = next((slot for slot in order if not slot.alive), order[0])
            error = await first.start_with(config)
        if error is not None:
            raise CompositionError(error)
        self.config = config
        set_level(config.log.level)
        others = [slot for slot in self._slots if slot.alive and slot is not first]
        answers = await asyncio.gather(*(slot.adopt(config) for slot in others))
        for slot, error in zip(others, answers, strict=True):
            if error is not None:
                event(
                    logging.ERROR,
                    "a worker could not apply the configuration; it is restarted",
                    worker=slot.name,
                    error_message=error,
                )
                slot.kill()

    def _stores(self) -> list[tuple[CounterStore, bool]]:
        return [(self._metrics.store, True), *((slot.counter_store, slot.alive) for slot in self._slots)]

    @property
    def policy(self) -> str | None:
        """The policy that requests to the admin port must pass."""
        return self.config.admin.policy

    async def admit(self, request: AdminRequest) -> Admission:
        """Return whether a request to the admin port passes its policy, as the first worker that answers decides."""
        until = self._clock.monotonic() + _DECISION_PATIENCE
        for slot in sorted(self._slots, key=lambda slot: not slot.ready):
            answer = await slot.ask(request, min(_FIRST_PATIENCE, until - self._clock.monotonic()))
            if isinstance(answer, Admission):
                return answer
            if self._clock.monotonic() >= until:
                break
        return refused(Unavailable(Reason.KEYS_UNAVAILABLE))

    async def _status(self, named: bool) -> GateStatus | None:
        """Return the status for the page, or None if the page is off."""
        if not self.config.admin.page:
            return None
        answers = await asyncio.gather(
            *(slot.ask(Inspect(decisions=named), _PATIENCE) for slot in self._slots)
        )
        return self._board.status(
            self.config,
            self._stores(),
            readiness=self._readiness(),
            configuration=self._reloader.details() if self._reloader else self._unread,
            named=named,
            inspected=Inspected(
                [answer for answer in answers if isinstance(answer, Inspection)], len(answers)
            ),
        )

    def _readiness(self) -> Readiness:
        checks = [Check("shutdown", not self._ending, "ending" if self._ending else "not ending")]
        for slot in self._slots:
            checks += slot.checks()
        if self._reloader is not None:
            checks.append(self._reloader.check())
        return Readiness(not self._ending and all(slot.ready for slot in self._slots), tuple(checks))

    def _with_real_addresses(self) -> Config:
        config = self.config
        real: dict[str, object] = {
            "listen": tuple(self.addresses.reserve(address) for address in config.server.listen)
        }
        if config.server.grpc is not None:
            real["grpc"] = self.addresses.reserve(config.server.grpc)
        changed: dict[str, object] = {"server": config.server.model_copy(update=real)}
        if config.exchange is not None:
            listen = self.addresses.reserve(config.exchange.listen)
            changed["exchange"] = config.exchange.model_copy(update={"listen": listen})
        return config.model_copy(update=changed)
