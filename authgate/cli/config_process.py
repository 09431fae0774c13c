"""A child process that reads the configuration of `serve` and hands it over as plain values.

Reading needs Typer, pydantic and the models of the configuration: more than 15 MB that a gate does not use between
reloads. So a child process runs the same command line and exits: at startup a copy of this process, which prints help
and errors, and for a reload a new process. It sends its pickle through a pipe that no other process can write to.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NoReturn

from authgate.config.plain import PlainConfig
from authgate.config.problems import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from authgate.config import PolicyConfig
    from authgate.config.plain import Reading

_CODE: Final = "import sys; sys.path[:] = {path!r}; from authgate.cli import main; main(writer={writer})"
_TIMEOUT: Final = 60.0
_PLUGINS: Final = {"PYDANTIC_DISABLE_PLUGINS": "__all__"}  # the search for them reads every installed package


class Recipient:
    """The process that gets the configuration, as its child process sees it.

    `again` is true for a reload: problems are then sent and not printed.
    """

    def __init__(self, descriptor: int, *, again: bool) -> None:
        self.again = again
        self._descriptor = descriptor

    def send(self, reading: Reading) -> NoReturn:
        """Send what was read, and end this process: the interpreter would free its memory for 30 ms.

        Each policy is a pickle of its own, so that a reload can load them one by one.
        """
        policies: dict[str, PolicyConfig] = {}
        if isinstance(reading.outcome, PlainConfig):
            config = reading.outcome.config
            policies = config.policies
            rest = config.model_copy(update={"policies": {}})
            reading = replace(reading, outcome=replace(reading.outcome, config=rest))
        with open(self._descriptor, "wb", closefd=False) as pipe:
            for part in ((reading, len(policies)), *policies.items()):
                pickle.dump(part, pipe, pickle.HIGHEST_PROTOCOL)
        os._exit(0)


def fork_reading() -> FirstReading | Recipient:
    """Copy this process. Return the copy's reading, or in the copy where to send it; raise OSError.

    Call this before threads exist. A copy starts faster than a new process, which would load Python again.
    """
    reader, writer = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(reader)
        os.close(writer)
        raise
    if pid:
        os.close(writer)
        return FirstReading(pid, reader)
    os.close(reader)
    if os.getppid() == 1:  # process 1 has handlers that its child does not need
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
    os.environ.update(_PLUGINS)
    return Recipient(writer, again=False)


class FirstReading:
    """The process that reads the configuration at startup. It closes its end of the pipe when it exits."""

    def __init__(self, pid: int, reader: int) -> None:
        self._pid = pid
        self._reader = reader

    def receive(self) -> Reading | int:
        """Wait for what the process read, or for its exit status if it printed help or errors instead.

        Raise `ConfigError` if a signal ended it: then it printed nothing.
        """
        with os.fdopen(self._reader, "rb") as pipe:
            data = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        if status < 0:
            raise _unread(_ended(status))
        if status != 0 or not data:
            return status
        loading = _Loading(data)
        for _ in loading.steps():
            pass
        return loading.reading


class ConfigProcess:
    """Reads the configuration that the words of a command line describe again, each time in a new process."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words

    async def read_again(self) -> Reading:
        """Return the current configuration, or its problems; raise `ConfigError` if the process fails."""
        import asyncio

        try:
            process, reader = self._start()
        except OSError as error:
            raise _unread(f"no process can be started to read it: {error.strerror}") from None
        try:
            async with asyncio.timeout(_TIMEOUT):
                data = await _received(reader)
        except TimeoutError:
            raise _unread(f"it could not be read within {_TIMEOUT:g} s") from None
        finally:
            process.kill()
            status = process.wait()
        if status != 0 or not data:
            raise _unread(_ended(status))
        loading = _Loading(data)
        for _ in loading.steps():
            await asyncio.sleep(0)  # requests are answered meanwhile
        return loading.reading

    def _start(self) -> tuple[subprocess.Popen[bytes], int]:
        """Start a process; return it and the end of the pipe that it writes to. Raise OSError."""
        reader, writer = os.pipe()
        given = {"-I": sys.flags.isolated, "-E": sys.flags.ignore_environment, "-s": sys.flags.no_user_site}
        flags = [name for name, value in given.items() if value]
        code = _CODE.format(path=sys.path, writer=writer)
        try:
            process = subprocess.Popen(  # noqa: S603 - this program again
                [sys.executable, *flags, "-c", code, *self._words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(writer,),
                env={**os.environ, **_PLUGINS},
            )
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        return process, reader


async def _received(reader: int) -> bytes:
    """Return the bytes that a process sends until it ends, while the event loop runs."""
    import asyncio

    loop, stream = asyncio.get_running_loop(), asyncio.StreamReader()
    pipe = os.fdopen(reader, "rb")
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), pipe)
    try:
        return await stream.read()
    finally:
        transport.close()


class _Loading:
    """Loads what `Recipient.send` sent. `reading` is complete after all `steps`."""

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)
        self.reading: Reading
        self.reading, self._count = self._next()

    def steps(self) -> Iterator[None]:
        """Load the policies one by one."""
        for _ in range(self._count):
            name, policy = self._next()
            self.reading.config().config.policies[name] = policy
            yield

    def _next(self) -> Any:
        try:
            return pickle.load(self._stream)  # noqa: S301 - from our own child process, through a private pipe
        except (EOFError, pickle.UnpicklingError):
            raise _unread("the process that reads it ended too soon") from None


def _ended(status: int) -> str:
    """Return how the process ended, by its exit status as `subprocess` returns it."""
    if status >= 0:
        return f"the process that reads it ended with status {status}"
    hint = "; it may need more memory" if status == -signal.SIGKILL else ""
    return f"{signal.Signals(-status).name} ended the process that reads it{hint}"


def _unread(why: str) -> ConfigError:
    return ConfigError([Problem("configuration", why, rule=f"configuration: {why}")])
