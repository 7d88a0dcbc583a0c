"""A server process of our own, whatever its engine: started, watched, killed, started again."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from rehearse.errors import ProvisionError
from rehearse.model.record import Environment
from rehearse.model.target import Target
from rehearse.provision.files import Files
from rehearse.provision.guarded import Guarded
from rehearse.provision.private import text_of
from rehearse.provision.server import Standby

HOST = "127.0.0.1"

_ENDED_S = 60.0
_SHUTDOWN_S = 300.0
_PORT_TRIES = 5


class OwnServer:
    """A server that runs as a child of a warden of ours. See `Server`."""

    def __init__(self, files: Files, guarded: Guarded) -> None:
        self._files = files
        self._guarded = guarded
        self._pid, self._port = _start_on_free_port(files, guarded)
        self._log_offset = 0  # characters of it that are about earlier lives
        self._environment: Environment | None = None

    @property
    def target(self) -> Target:
        """The maintenance database, as superuser."""
        return self._files.target(self._port)

    @property
    def environment(self) -> Environment:
        """What it is and runs on."""
        assert self._environment is not None
        return self._environment

    @property
    def pid(self) -> int | None:
        """Its main process."""
        return self._pid

    @property
    def data_directory(self) -> Path | None:
        """The data directory."""
        return self._files.data

    def describe(self, provisioner: str, notes: tuple[str, ...]) -> None:
        """Ask the server what it is, for `environment`."""
        self._environment = self._files.describe(self.target, provisioner, notes)

    def alive(self) -> bool:
        """Whether its main process runs."""
        return self._guarded.running(self._pid)

    def last_words(self) -> str:
        """Why it ended; also, while it runs, of a crash that it got over since it was started."""
        text = text_of(self._files.log)[self._log_offset :]
        if self.alive():
            return self._files.reading.crash(text)
        return "; ".join(part for part in (self._files.reading.reason(text), self._ending()) if part)

    def _ending(self) -> str:
        code = self._guarded.wait(self._pid, 0.0)
        if code is None:
            return "its warden was killed"
        return f"killed by {_signal_name(-code)}" if code < 0 else f"exit code {code}"

    def kill(self) -> None:
        """SIGKILL to all of its processes."""
        self._guarded.kill()

    def restart(self) -> None:
        """Start again on the same data and port, recovering if it was killed."""
        if self.alive():
            self._guarded.signal(self._files.shutdown)
            if self._guarded.wait(self._pid, _ENDED_S) is None:
                self.kill()
        self._start()

    @contextlib.contextmanager
    def paused(self) -> Iterator[tuple[Path, Callable[[str], bool]]]:
        """The data directory while no server runs on it, shut down in order, and which of its files (by
        their paths in it) a copy does not need. Afterwards the server runs again.
        """
        self._guarded.signal(self._files.shutdown)
        if self._guarded.wait(self._pid, _SHUTDOWN_S) != 0:
            raise ProvisionError("the server did not shut down")
        try:
            yield self._files.data, self._files.unneeded()
        finally:
            self._start()

    def standby(self) -> AbstractContextManager[Standby]:
        """A second server from the same programs, with a warden of its own. See `Standby`."""
        return self._files.standby_of(self)

    def _start(self) -> None:
        self._log_offset = len(text_of(self._files.log))
        self._pid = self._files.start(self._guarded, self._port)


def _start_on_free_port(files: Files, guarded: Guarded) -> tuple[int, int]:
    """Start the server; (pid, port). Between choosing a port and listening on it, someone else may take it:
    then the server says so, and another is tried.
    """
    for _ in range(_PORT_TRIES):
        port = free_port()
        try:
            return files.start(guarded, port), port
        except ProvisionError:
            if "Address already in use" not in text_of(files.log):
                raise
            files.log.write_text("")
    raise ProvisionError(f"no free port on {HOST} after {_PORT_TRIES} tries")


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time one
        return f"signal {number}"
