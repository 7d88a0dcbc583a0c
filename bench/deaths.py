"""Everything that can die in the middle of a rehearsal, one after the other, and what is left of it.

Run as `python -m bench.deaths [--stages] [--containers] [--engine] [--image IMAGE]`; all three by default.

stages: the run killed by SIGKILL in each of its stages on the embedded server, and with a standby; seconds
until no process, file or segment of shared memory is left.
containers: the same in a container; what the next command removes, and that nothing remains.
engine: a Docker engine of our own, stopped and killed midway, with the tool's answer. It needs root, and
lives in namespaces of its own: no bridge, address or rule of the machine's own engine is touched.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from rehearse.errors import ExitCode
from rehearse.provision.clean import clean
from tests.provision.deaths import MOMENTS, containers_of, dying, place, shared_memory, wait_for_nothing
from tests.provision.runs import ROOT, Run, until, write_case

HOLDER = ROOT / "tests" / "provision" / "holder.py"
CONTAINER_MOMENTS = (("provision", 1.5), ("load", 0.1), ("migration", 0.1), ("judge", 0.0))
_WAIT_S = 120.0


def stages() -> Iterator[str]:
    """A line for each stage of a run on the embedded server, and one for a standby."""
    before = shared_memory()
    for stage, delay_s in MOMENTS:
        with place() as directory, dying(stage, delay_s, directory) as run:
            assert run.child.wait(_WAIT_S) == -signal.SIGKILL, (directory / "printed").read_text()
            took = wait_for_nothing(directory / "base", _WAIT_S)
            assert run.record()["stage"] == stage
            yield f"| {stage} + {delay_s:g} s | {took:.2f} s |"
    with place() as base, holding_a_standby("embedded", base) as child:
        child.kill()
        child.wait()
        yield f"| with a standby | {wait_for_nothing(base, _WAIT_S):.2f} s |"
    assert shared_memory() <= before


def containers(image: str) -> Iterator[str]:
    """A line for each stage of a run in a container: what the next command had to remove."""
    for stage, delay_s in CONTAINER_MOMENTS:
        with place() as directory, dying(stage, delay_s, directory, f"docker:{image}") as run:
            assert run.child.wait(_WAIT_S) == -signal.SIGKILL, (directory / "printed").read_text()
            removed = clean()
            assert not containers_of(run.child.pid)
            yield f"| {image}: {stage} + {delay_s:g} s | {'; '.join(removed) or 'nothing was left'} |"
    with place() as base, holding_a_standby(f"docker:{image}", base) as child:
        child.kill()
        child.wait()
        removed = clean()
        assert not containers_of(child.pid)
        yield f"| {image}: with a standby | {'; '.join(removed)} |"


@contextlib.contextmanager
def holding_a_standby(provision: str, base: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has a server and its standby."""
    env = os.environ | {"TMPDIR": str(base), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(HOLDER), "standby", provision]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603 - our own
        try:
            assert child.stdout is not None
            assert child.stdout.readline()
            yield child
        finally:
            child.kill()


class Engine:
    """A Docker engine in network, mount and process namespaces of its own, gone with their init."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.address = f"unix://{directory}/docker.sock"
        flags = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        init = ["sh", "-c", "sleep infinity & wait"]  # which also reaps whom the engine leaves
        self._unshare = subprocess.Popen(["unshare", *flags, *init])  # noqa: S603, S607 - the system's own
        until(lambda: bool(psutil.Process(self._unshare.pid).children()), _WAIT_S)
        self._init = psutil.Process(self._unshare.pid).children()[0].pid
        until(lambda: psutil.Process(self._init).name() == "sh", _WAIT_S)
        self._run("nsenter", "-t", str(self._init), "-n", "ip", "link", "set", "lo", "up")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        there = self._directory
        flags = ["--host", self.address, "--data-root", f"{there}/data", "--exec-root", f"{there}/exec"]
        command = ["nsenter", "-t", str(self._init), "-a", "dockerd", *flags, "--pidfile", f"{there}/pid"]
        (there / "pid").unlink(missing_ok=True)
        with (there / "engine.log").open("a") as log:
            self._outer = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - the system's own
        until(lambda: self._docker("info", "-f", "{{.ServerVersion}}"), _WAIT_S)

    def load(self, image: str) -> None:
        """Bring it an image from the machine's own engine."""
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:  # noqa: S603, S607 - as above
            self._run("docker", "-H", self.address, "load", "-q", stdin=saved.stdout)

    def end(self, number: signal.Signals) -> None:
        """Send it a signal, and wait for its end."""
        outer = psutil.Process(self._outer.pid)  # nsenter, which forks to get into the process namespace
        (engine,) = (p for p in (outer, *outer.children()) if p.name() == "dockerd")
        engine.send_signal(number)
        self._outer.wait(_WAIT_S)

    def inside(self, command: list[str]) -> list[str]:
        """The same command where the engine's addresses are."""
        return ["nsenter", f"--net=/proc/{self._init}/ns/net", *command]

    def close(self) -> None:
        """Kill everything in its namespaces, and remove its files."""
        self._unshare.kill()
        self._unshare.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _docker(self, *words: str) -> bool:
        done = subprocess.run(  # noqa: S603 - as above
            ["docker", "-H", self.address, *words],  # noqa: S607 - as above
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    @staticmethod
    def _run(*command: str, stdin: object = None) -> None:
        subprocess.run(command, stdin=stdin, check=True, stdout=subprocess.DEVNULL)  # type: ignore[call-overload]  # noqa: S603 - as above


def engine(image: str) -> Iterator[str]:
    """A line for each way in which an engine can go: what the tool says, and what it kept."""
    with place() as directory:
        there = directory / "engine"
        there.mkdir()
        private = Engine(there)
        try:
            private.start()
            private.load(image)
            for number in (signal.SIGTERM, signal.SIGKILL):
                yield _engine_ends(private, number, directory / number.name, image)
        finally:
            private.close()


def _engine_ends(private: Engine, number: signal.Signals, folder: Path, image: str) -> str:
    """Stopped, an engine takes its containers along. Killed, it leaves them running: there the rehearsal may
    come to its verdict, and the container is left to the next command.
    """
    folder.mkdir()
    scenario = write_case(folder, provision=f"docker:{image}", rows="2k", baseline="6s")
    command = [sys.executable, "-m", "rehearse", "run", str(scenario), "--out", str(folder / "reports")]
    env = os.environ | {"DOCKER_HOST": private.address, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(  # noqa: S603 - our own
        private.inside(command), env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            run = Run(child, folder)
            run.wait_for("baseline", _WAIT_S)
            began = time.monotonic()
            private.end(number)
            _, said = child.communicate(timeout=_WAIT_S)
        finally:
            child.kill()
    took = time.monotonic() - began
    last, record = said.splitlines()[-1], run.record()
    assert record["tables"]
    if child.returncode == ExitCode.ENVIRONMENT:
        assert last.startswith("rehearse: the database server died in the stage baseline: "), said
        assert record["stage"] == "baseline"
        assert record["error"]
    else:
        assert number is signal.SIGKILL, said
        assert record["judgement"]["verdict"], said
        last = f"the verdict: {record['judgement']['verdict']}"
    private.start()
    left = _cleaned(private.address)
    return f"| {number.name} | exit {child.returncode} after {took:.1f} s | {last} | {left} |"


def _cleaned(address: str) -> str:
    """What `rehearse clean` removes from that engine; nothing of ours may be there afterwards."""
    env = os.environ | {"DOCKER_HOST": address}
    done = subprocess.run(
        [sys.executable, "-m", "rehearse", "clean"], env=env, capture_output=True, text=True, check=True
    )
    listed = subprocess.run(  # noqa: S603 - the system's own
        ["docker", "-H", address, "ps", "-aq"],  # noqa: S607 - as above
        capture_output=True,
        text=True,
        check=True,
    )
    assert not listed.stdout.strip()
    return "; ".join(done.stdout.splitlines())


def main() -> int:
    """Let them die; an AssertionError, naming what was left, where one does not die cleanly."""
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for name in ("stages", "containers", "engine"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--image", default="postgres:18")
    options = parser.parse_args()
    everything = not (options.stages or options.containers or options.engine)
    parts: tuple[tuple[bool, Callable[[], Iterator[str]]], ...] = (
        (options.stages, stages),
        (options.containers, lambda: containers(options.image)),
        (options.engine, lambda: engine(options.image)),
    )
    for wanted, part in parts:
        if wanted or everything:
            for line in part():
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
