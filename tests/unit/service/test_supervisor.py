"""The supervisor: which worker tries a new configuration, and the documents that it serves."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from authgate.compose import CompositionError
from authgate.config import load
from authgate.dev.issuer import Issuer
from authgate.dev.keys import SigningKey
from authgate.server.admin.access import AdminRequest, Admission
from authgate.service.channel import Adopt, Adopted, Answered, Ask, Channel, Status
from authgate.service.supervisor import _Supervisor
from tests.support.service import knowing, written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.clock import FakeClock

CONFIG = load(None, {"AUTHGATE_CLUSTER__AUDIENCES": "a"}).config
COUNT = 3
PEM = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@asynccontextmanager
async def workers(supervisor: _Supervisor) -> AsyncIterator[list[Channel]]:
    """Processes that count as listening workers, and the channels over which the test sends their messages."""
    channels = []
    for slot in supervisor._slots:
        near, far = socket.socketpair()
        pid = os.posix_spawnp("sleep", ("sleep", "60"), dict(os.environ))
        await slot.start(pid, near, supervisor.on_report)
        channels.append(await Channel.over(far))
        channels[-1].send(Status(listening=True, checks=()))
    while not all(slot.listening for slot in supervisor._slots):  # noqa: ASYNC110 - a slot sets no event
        await asyncio.sleep(0)
    async with asyncio.timeout(60):
        yield channels
    for slot, channel in zip(supervisor._slots, channels, strict=True):
        if slot.alive:
            slot.kill()
            os.waitid(os.P_PID, slot.pid, os.WEXITED | os.WNOWAIT)
            slot.reap()
        channel.close()


async def test_each_trial_uses_another_worker() -> None:
    """A rejected configuration reaches no other worker. The next trial rotates, and all workers apply a valid one."""
    supervisor = _Supervisor(CONFIG, COUNT, None)
    async with workers(supervisor) as channels:
        for turn in range(COUNT + 1):
            trial = asyncio.create_task(supervisor._adopt(CONFIG))
            assert isinstance(await channels[turn % COUNT].receive(), Adopt)
            channels[turn % COUNT].send(Adopted("it does not work"))
            with pytest.raises(CompositionError, match="it does not work"):
                await trial
        trial = asyncio.create_task(supervisor._adopt(CONFIG))
        for turn in (1, 2, 0):
            # If a rejected one had reached a worker, its slot would wait for two answers now.
            assert isinstance(await channels[turn].receive(), Adopt)
            channels[turn].send(Adopted(None))
        await trial


async def test_a_worker_that_dies_during_a_trial_does_not_get_the_next_trial() -> None:
    """The cause may be the configuration or that worker, so another worker tries next."""
    supervisor = _Supervisor(CONFIG, COUNT, None)
    async with workers(supervisor) as channels:
        trial = asyncio.create_task(supervisor._adopt(CONFIG))
        await channels[0].receive()
        supervisor._slots[0].kill()
        while not trial.done():
            supervisor._slots[0].reap()
            await asyncio.sleep(0)
        with pytest.raises(CompositionError, match="the worker ended while applying it"):
            await trial
        trial = asyncio.create_task(supervisor._adopt(CONFIG))
        await channels[1].receive()
        channels[1].send(Adopted(None))
        await channels[2].receive()
        channels[2].send(Adopted(None))
        await trial


def test_a_signing_key_that_cannot_be_read_is_tried_once_a_second(tmp_path: Path, clock: FakeClock) -> None:
    """Every unknown path of the admin port needs the documents. A valid file is read once per configuration."""
    key = tmp_path / "signing.pem"
    document = {
        "jwt": [knowing(Issuer("https://issuer.example.com", SigningKey.generate("ES256")))],
        "signing": {"issuer": "https://gate.example", "keyFiles": [str(key)]},
        "identityToken": {"audience": "apps"},
    }
    key.write_bytes(PEM)
    supervisor = _Supervisor(load(written(tmp_path, document), {}).config, COUNT, None, clock)
    key.write_text("damaged")
    assert supervisor._documents() == {}
    key.write_bytes(PEM)
    clock.advance(0.9)
    assert supervisor._documents() == {}
    clock.advance(0.1)
    documents = supervisor._documents()
    assert documents
    key.write_text("damaged")
    clock.advance(10)
    assert supervisor._documents() is documents


REQUEST = AdminRequest(headers=(), method="GET", target="/metrics", host=None)


async def test_a_worker_decides_who_may_read_the_admin_port() -> None:
    """The supervisor has no keys."""
    supervisor = _Supervisor(CONFIG, COUNT, None)
    async with workers(supervisor) as channels:
        asking = asyncio.create_task(supervisor.admit(REQUEST))
        question = await channels[0].receive()
        assert isinstance(question, Ask)
        assert question.question == REQUEST
        channels[0].send(Answered(question.number, Admission(status=403)))
        assert (await asking).status == 403


async def test_another_worker_decides_if_one_ends() -> None:
    """The request is not lost with the worker."""
    supervisor = _Supervisor(CONFIG, COUNT, None)
    async with workers(supervisor) as channels:
        asking = asyncio.create_task(supervisor.admit(REQUEST))
        await channels[0].receive()
        supervisor._slots[0].kill()
        os.waitid(os.P_PID, supervisor._slots[0].pid, os.WEXITED | os.WNOWAIT)
        supervisor._slots[0].reap()
        question = await channels[1].receive()
        assert isinstance(question, Ask)
        channels[1].send(Answered(question.number, Admission(status=200)))
        assert (await asking).status == 200


async def test_without_a_worker_nobody_may_read_the_admin_port() -> None:
    """The answer is 503: nothing can be decided."""
    answer = await _Supervisor(CONFIG, COUNT, None).admit(REQUEST)
    assert (answer.status, dict(answer.headers)["Retry-After"]) == (503, "1")
