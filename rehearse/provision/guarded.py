"""Our end of the warden (see `warden.py`): processes that end when this one does, however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rehearse.errors import ProvisionError

_SCRIPT = Path(__file__).with_name("warden.py")
_FAREWELL_S = 60.0  # the warden takes a moment, plus removing the files


@dataclass(frozen=True, slots=True)
class Account:
    """The user that server processes run as, where that is not the user we are."""

    name: str
    uid: int
    gid: int


class Guarded:
    """A private directory, and processes in it one after the other. A context manager.

    Leaving it, or the death of this process, kills what runs there and removes the directory. The warden
    knows of our death by the end of a pipe that only this process holds: it is close-on-exec, and closed
    in every child made by fork alone. Safe to ask from several threads.
    """

    def __init__(self, base: Path, account: Account | None) -> None:
        self._account = account
        self._lock = threading.RLock()
        self._rest = b""
        self._exited: dict[int, int] = {}  # pid -> exit code
        self._started: list[int] = []
        self._refused: list[str] = []
        self._directory = ""
        self._gone = False
        argv = [sys.executable, "-I", "-S", str(_SCRIPT), str(base), str(account.gid if account else -1)]
        self._process = subprocess.Popen(  # noqa: S603 - a script of ours
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env={},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._orders, self._answers = self._process.stdin.fileno(), self._process.stdout.fileno()
        _lifelines.add(self)
        self._wait_for(lambda: bool(self._directory), 20.0)
        if not self._directory:
            self.close()
            raise ProvisionError(f"no private directory could be made in {base}")

    def __enter__(self) -> Guarded:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def directory(self) -> Path:
        """The private directory; removed with everything in it."""
        return Path(self._directory)

    @property
    def warden_pid(self) -> int:
        """The warden's own process."""
        return self._process.pid

    def start(
        self, argv: Sequence[str | Path], env: dict[str, str], log: Path, *, farewell: signal.Signals
    ) -> int:
        """Start a process with its output appended to `log`; its pid. One at a time.

        `farewell` is the signal that it gets if the warden, who kills it otherwise, is killed: one that ends
        it and all its children at once, in order.
        """
        account = [self._account.uid, self._account.gid] if self._account else None
        with self._lock:
            before = len(self._started)
            words = [str(word) for word in argv]
            self._order("run", argv=words, env=env, log=str(log), account=account, farewell=int(farewell))
            self._wait_for(lambda: len(self._started) > before or bool(self._refused), 20.0)
            if len(self._started) == before:
                raise ProvisionError(
                    f"{argv[0]} could not be started: {'; '.join(self._refused) or 'no answer'}"
                )
            return self._started[-1]

    def run(self, argv: Sequence[str | Path], env: dict[str, str], log: Path, timeout_s: float) -> int:
        """Run a process to its end; its exit code. ProvisionError if it takes longer than `timeout_s`."""
        pid = self.start(argv, env, log, farewell=signal.SIGKILL)
        code = self.wait(pid, timeout_s)
        if code is None:
            self.kill()
            raise ProvisionError(f"{Path(argv[0]).name} did not end within {timeout_s:.0f} s")
        return code

    def wait(self, pid: int, timeout_s: float) -> int | None:
        """The exit code of a process started here (negative: the signal), None while it still runs."""
        self._wait_for(lambda: pid in self._exited, timeout_s)
        return self._exited.get(pid)

    def running(self, pid: int) -> bool:
        """Whether a process started here has not ended."""
        return self.wait(pid, 0.0) is None and not self._gone

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process started last, if it still runs."""
        self._order("send", number=int(number))

    def kill(self) -> None:
        """SIGKILL to the process started last and everything under it."""
        self._order("kill")
        if self._started:
            self.wait(self._started[-1], _FAREWELL_S)

    def close(self) -> None:
        """Kill, remove, wait for both. Again is harmless; in a forked child it does nothing."""
        if self not in _lifelines:
            return
        with self._lock:
            _lifelines.discard(self)
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_FAREWELL_S)
            self._process.stdout.close()
            self._gone = True

    def forget(self) -> None:
        """In a forked child: let go of the pipe without a word. The warden is not this process's child."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.returncode = 0
        self._lock = threading.RLock()  # a thread that the fork did not copy may have held it
        self._gone = True

    def _order(self, order: str, **words: object) -> None:
        with self._lock:
            if self._gone:
                raise ProvisionError("the server's warden is gone")
            try:
                os.write(self._orders, json.dumps([order, words]).encode() + b"\n")
            except OSError as error:
                raise ProvisionError("the server's warden is gone") from error

    def _wait_for(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Read answers until `condition()` holds, the time is over or no more can come."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            poller = select.poll()
            if not self._gone:
                poller.register(self._answers, select.POLLIN)
            while not condition() and not self._gone:
                left = deadline - time.monotonic()
                if poller.poll(max(left, 0.0) * 1000):
                    self._read()
                elif left <= 0:
                    return

    def _read(self) -> None:
        piece = os.read(self._answers, 65536)
        if not piece:
            self._gone = True
            return
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._take(json.loads(line))

    def _take(self, answer: dict[str, Any]) -> None:
        if "directory" in answer:
            self._directory = answer["directory"]
        elif "started" in answer:
            self._started.append(answer["started"])
        elif "exited" in answer:
            self._exited[answer["exited"]] = answer["code"]
        elif "refused" in answer:
            self._refused.append(answer["refused"])


_lifelines: weakref.WeakSet[Guarded] = weakref.WeakSet()


def _forget_all() -> None:
    for guarded in list(_lifelines):
        guarded.forget()
    _lifelines.clear()


# multiprocessing's fork copies close-on-exec descriptors too: with one of them open in a worker, the pipe
# would not end when we die
os.register_at_fork(after_in_child=_forget_all)
