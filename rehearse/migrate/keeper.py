"""The keeper: a small process that runs one command and everything it starts, and lets none of it outlive us.

Run as a script (`python -I -S keeper.py COMMAND ...`), on the standard library alone, in its own session.
The environment and the working directory are the command's. The end of standard input means that whoever
held it is done, or dead by any signal: then, and when the command has ended, all that is left under us is
killed.
The last line on standard error tells how the command ended: `exit N`, negative for a signal.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def start(argv: list[str]) -> int:
    """Start the command; its output, of both kinds, goes to our standard output."""
    keeper = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(1, 2)
        os.closerange(3, 64)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == keeper:
            os.execvp(argv[0], argv)  # noqa: S606 - no shell is the point
    except OSError as error:
        os.write(1, f"{argv[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def wait(main: int) -> int | None:
    """How `main` ended; None where the input ended before."""
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == main:
                    return os.waitstatus_to_exitcode(found[1])
        ready, _, _ = select.select([0, wake_read], [], [], 1.0)
        if wake_read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake_read, 4096)
        if 0 in ready and not os.read(0, 4096):
            return None


def kill_all() -> None:
    """SIGKILL, until nothing is left: as their subreaper we are the parent of every orphan among them."""
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def descendants(root: int) -> list[int]:
    """The pids of every process under `root`, nearest first."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib takes as long to import as all of this
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - as above
                parent = int(file.read().rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    found = list(children.get(root, ()))
    for pid in found:  # grows as it goes
        found.extend(children.get(pid, ()))
    return found


def main() -> None:
    """Run the command, then leave nothing of it behind, whatever happened."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    code: int | None = None
    try:
        code = wait(start(sys.argv[1:]))
    finally:
        kill_all()
    if code is not None:
        os.write(2, f"exit {code}\n".encode())


if __name__ == "__main__":
    main()
