"""The warden: a small process that owns a server's directory and processes, and outlives us by a moment.

Run as a script (`python -I -S warden.py BASE GID`), on the standard library alone. It makes a private
directory under BASE, says where on its standard output, and then takes orders, one JSON value a line, on
standard input. The end of that input means that whoever held it is done, or dead by any signal: the warden
kills what it started, removes the directory and ends. It is the parent of the server, in a session of its
own, so neither Ctrl-C nor `kill -9` of the tool can leave a server behind or cut one off too early.

Orders:  ["run", {"argv": [...], "env": {}, "log": PATH, "account": [UID, GID] or null, "farewell": N}]
                                  `farewell` is the signal that it gets if the warden itself is killed
         ["send", {"number": N}]  a signal to the process started last
         ["kill", {}]             SIGKILL to it and everything under it
Answers: {"directory": PATH} once, {"started": PID}, {"exited": PID, "code": N}
         (code < 0: ended by that signal), {"refused": TEXT} where a process cannot be started
"""

import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time

PREFIX = "rehearse-"
LOCK_NAME = "warden.lock"
IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)  # meant for the tool, which then ends us itself

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_IPC_RMID = 0

_libc = ctypes.CDLL(None, use_errno=True)


class Warden:
    """What one warden owns: a directory, a lock on it that says it is alive, and processes."""

    def __init__(self, base: str, gid: int) -> None:
        self.directory = tempfile.mkdtemp(prefix=PREFIX, dir=base)
        # held to our end, however that comes; a directory whose lock is free is a leftover
        self.lock = os.open(os.path.join(self.directory, LOCK_NAME), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)  # noqa: PTH118 - pathlib takes as long to import as all of this
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        if gid >= 0:  # the server runs as another user, who must pass through but not look around
            os.chown(self.directory, -1, gid)
            os.chmod(self.directory, 0o710)  # noqa: PTH101, S103 - as above; the group passes, no more
        self.main = 0
        self.shared_memory = SharedMemory()

    def serve(self) -> None:
        """Take orders until there can be no more of them."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        answer(directory=self.directory)
        rest = b""
        while True:
            ready, _, _ = select.select([0, wake_read], [], [])
            if wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake_read, 4096)
                self.reap()
            if 0 in ready:
                piece = os.read(0, 65536)
                if not piece:
                    return
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    order, words = json.loads(line)
                    if order == "run":
                        self.run(**words)
                    elif order == "send":
                        self.send(**words)
                    elif order == "kill":
                        self.kill_all()

    def run(
        self, argv: list[str], env: dict[str, str], log: str, account: list[int] | None, farewell: int
    ) -> None:
        """Start a process; it is the main one from now on."""
        try:
            self.main = start(argv, env, log, account, farewell)
        except OSError as error:
            answer(refused=str(error))
        else:
            answer(started=self.main)

    def send(self, number: int) -> None:
        """Send a signal to the main process, if it still runs."""
        if self.main:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.main, number)

    def reap(self) -> bool:
        """Collect every child that has ended; False if there are no children at all."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.main:
                self.main = 0
                answer(exited=pid, code=os.waitstatus_to_exitcode(status))

    def kill_all(self) -> None:
        """SIGKILL, until nothing is left. A backend is in a session of its own, so no process group has
        them all; but as their subreaper this process becomes the parent of every orphan among them. They
        are stopped first, so that none takes shared memory between the look at what they hold and the end.
        """
        while self.reap():
            pids = descendants(os.getpid())
            signal_all(pids, signal.SIGSTOP)
            self.shared_memory.note(pids, self.directory)
            signal_all(pids, signal.SIGKILL)
            time.sleep(0.002)

    def end(self) -> None:
        """Stop everything at once, and remove every trace. No farewell: it would take a busy server longer to
        end in order than it takes us to clean up after it.
        """
        self.kill_all()
        self.shared_memory.remove()
        shutil.rmtree(self.directory, ignore_errors=True)


class SharedMemory:
    """What servers killed by SIGKILL cannot give back themselves: noted before, removed after."""

    def __init__(self) -> None:
        self.segments: set[int] = set()  # System V identifiers
        self.files: set[str] = set()

    def note(self, pids: list[int], directory: str) -> None:
        """Take down what these processes hold."""
        pid_file = f"{directory}/data/postmaster.pid"
        with contextlib.suppress(OSError, IndexError, ValueError), open(pid_file) as file:  # noqa: PTH123 - see above
            self.segments.add(int(file.read().splitlines()[6].split()[1]))
        for pid in pids:
            with contextlib.suppress(OSError), open(f"/proc/{pid}/maps") as file:  # noqa: PTH123 - see above
                words = (line.split()[-1] for line in file if "/dev/shm/PostgreSQL." in line)  # noqa: S108 - where Linux keeps it
                self.files.update(word for word in words if word.startswith("/dev/shm/"))  # noqa: S108 - as above

    def remove(self) -> None:
        """Remove what is still there of it."""
        for segment in self.segments:
            _libc.shmctl(segment, _IPC_RMID, None)
        for name in self.files:
            with contextlib.suppress(OSError):
                os.unlink(name)  # noqa: PTH108 - see above


def start(argv: list[str], env: dict[str, str], log: str, account: list[int] | None, farewell: int) -> int:
    """Start a process whose output goes to `log` and which gets `farewell` when this one dies; its pid."""
    warden = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        become(warden, log, account, farewell)
        os.chdir("/")
        os.execve(argv[0], argv, env)  # noqa: S606 - no shell is the point
    except BaseException as error:
        os.write(2, f"FATAL:  could not start {argv[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def become(warden: int, log: str, account: list[int] | None, farewell: int) -> None:
    """Turn this fresh child into what its program expects to be started as."""
    os.setsid()
    output = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, 64)
    signal.set_wakeup_fd(-1)
    for number in (*IGNORED, signal.SIGPIPE, signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    if account is not None:
        uid, gid = account
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    _libc.prctl(_PR_SET_PDEATHSIG, farewell)  # after setuid, which clears it
    if os.getppid() != warden:
        os._exit(0)  # it died before the line above


def descendants(root: int) -> list[int]:
    """The pids of every process under `root`, nearest first."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - see above
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - see above
                parent = int(file.read().rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    found = list(children.get(root, ()))
    for pid in found:  # grows as it goes
        found.extend(children.get(pid, ()))
    return found


def signal_all(pids: list[int], number: int) -> None:
    """Send a signal to each that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def answer(**words: object) -> None:
    """Tell whoever listens; it does not matter if nobody does."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(words).encode() + b"\n")


def stop_serving(*_: object) -> None:
    """SIGTERM: as if the input had ended."""
    raise SystemExit(0)


def main() -> None:
    """Serve, then leave nothing behind, whatever happened in between."""
    os.umask(0o077)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop_serving)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    warden = Warden(sys.argv[1], int(sys.argv[2]))
    try:
        warden.serve()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        warden.end()


if __name__ == "__main__":
    main()
