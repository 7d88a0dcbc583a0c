"""Whatever kills us, the server and its files are gone within two seconds."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from rehearse.provision.clean import clean
from rehearse.provision.engine import engine_client
from rehearse.provision.sweep import sweep_directories

HOLDER = Path(__file__).with_name("holder.py")
ROOT = Path(__file__).parents[2]
GONE_WITHIN_S = 2.0


@contextlib.contextmanager
def holding(kind: str, base: Path, provisioner: str = "embedded") -> Iterator[subprocess.Popen[str]]:
    """The holder as a child of its own process group, with its servers under `base`."""
    env = os.environ | {"TMPDIR": str(base), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(HOLDER), kind, provisioner]
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        try:
            yield child
        finally:
            child.kill()


@pytest.fixture
def base() -> Iterator[Path]:
    """A directory for servers that an unprivileged user can pass through."""
    directory = Path(tempfile.mkdtemp(prefix="base-"))
    directory.chmod(0o711)
    yield directory
    until(lambda: not any(directory.glob("rehearse-*")), 10)  # a warden may still be at it
    shutil.rmtree(directory)


def announcement(child: subprocess.Popen[str]) -> dict[str, Any]:
    assert child.stdout is not None
    words: dict[str, Any] = json.loads(child.stdout.readline())
    return words


def until(condition: Callable[[], bool], within_s: float) -> float:
    """How long it took; fails if it takes longer than it may."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < within_s
        time.sleep(0.01)
    return time.monotonic() - started


def everything_under(child: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(child.pid).children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def shared_memory() -> set[Path]:
    return set(Path("/dev/shm").glob("PostgreSQL.*"))


def unused(segments: set[Path]) -> set[Path]:
    """Those that no process has in use; servers of other tests on this machine have theirs."""
    maps = ""
    for process in psutil.process_iter():
        with contextlib.suppress(OSError):
            maps += Path(f"/proc/{process.pid}/maps").read_text()
    return {path for path in segments if str(path) not in maps}


def test_kill_9_of_us_takes_a_busy_server_along(base: Path) -> None:
    before = shared_memory()
    with holding("busy", base) as child:
        words = announcement(child)
        servers = everything_under(child)
        assert any(p.pid == words["pid"] for p in servers)
        assert Path(words["data"]).is_relative_to(base)
        assert shared_memory() - before
        child.kill()
        until(lambda: gone(servers) and not any(base.iterdir()), GONE_WITHIN_S)
    assert not unused(shared_memory() - before)


def test_kill_9_during_initdb_leaves_nothing(base: Path) -> None:
    with holding("idle", base) as child:
        until(lambda: any(base.glob("rehearse-*/data/base")), 20)
        servers = everything_under(child)
        assert "initdb" in [process.name() for process in servers]
        child.kill()
        until(lambda: gone(servers) and not any(base.iterdir()), GONE_WITHIN_S)


def test_kill_9_as_the_server_starts_leaves_nothing(base: Path) -> None:
    with holding("idle", base) as child:
        until(lambda: any(base.glob("rehearse-*/socket/.s.PGSQL.*")), 20)
        servers = everything_under(child)
        child.kill()
        until(lambda: gone(servers) and not any(base.iterdir()), GONE_WITHIN_S)


def test_workers_that_outlive_us_do_not_hold_the_server(base: Path) -> None:
    with holding("workers", base) as child:
        words = announcement(child)
        worker = psutil.Process(words["worker"])
        server = psutil.Process(words["pid"])
        sleepers = [p for p in everything_under(child) if p.name() == "sleep"]
        child.kill()
        try:
            until(lambda: gone([server]) and not any(base.iterdir()), GONE_WITHIN_S)
            assert worker.is_running()
        finally:
            for process in (worker, *sleepers):
                process.kill()


def test_the_wardens_own_death_takes_the_server_and_the_next_run_the_files(base: Path) -> None:
    with holding("busy", base) as child:
        words = announcement(child)
        servers = everything_under(child)
        warden = psutil.Process(words["pid"]).parent()
        assert warden is not None
        warden.kill()
        until(lambda: gone(servers), 6)  # the postmaster's own patience with its backends is 5 s
        assert any(base.glob("rehearse-*"))
        assert len(sweep_directories(base)) == 1
        assert not any(base.iterdir())


def test_a_server_without_its_warden_is_swept_too(base: Path) -> None:
    with holding("idle", base) as child:
        words = announcement(child)
        warden = psutil.Process(words["pid"]).parent()
        assert warden is not None
        os.kill(words["pid"], signal.SIGSTOP)  # so that it cannot follow its warden
        warden.kill()
        until(lambda: gone([warden]), GONE_WITHIN_S)
        assert sum("and the server in it" in line for line in sweep_directories(base)) == 1
        until(lambda: not psutil.pid_exists(words["pid"]), GONE_WITHIN_S)


def test_neither_ctrl_c_nor_a_sweep_takes_a_living_server(base: Path) -> None:
    with holding("interrupt", base) as child:
        announcement(child)
        assert sweep_directories(base) == ()
        os.killpg(child.pid, signal.SIGINT)
        assert announcement(child) == {"alive": True, "answer": [1]}
        assert child.wait(10) == 0
        assert not any(base.iterdir())


def _interpreter_for_everyone() -> str | None:
    """A Python of this version that any user can reach."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for path in (sys.executable, shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")):
        with contextlib.suppress(OSError):
            if (
                path
                and subprocess.run(
                    [path, "-V"], user="nobody", check=False, stdout=subprocess.DEVNULL
                ).returncode
                == 0
            ):
                return path
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
def test_it_works_as_an_ordinary_user(base: Path) -> None:
    python = _interpreter_for_everyone()
    if python is None:
        pytest.skip("no interpreter of this version that user nobody can reach")
    site = next(path for path in sys.path if path.endswith("site-packages"))
    nobody = pwd.getpwnam("nobody")
    home = base / "home"
    home.mkdir()
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": f"{ROOT}:{site}"}
    done = subprocess.run(
        [python, "-B", str(HOLDER), "leave", "embedded"],
        env=env,
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["data"].startswith(str(home))
    assert not any(home.glob("rehearse-*"))


@pytest.mark.container
def test_a_dead_runs_container_is_removed_by_the_next(base: Path, container_images: frozenset[str]) -> None:
    assert "postgres:17" in container_images
    with holding("idle", base, "docker:postgres:17") as child:
        announcement(child)
        clean()
        (name,) = containers_of(child.pid)
        child.kill()
        child.wait()
        assert f"container {name} (postgres:17)" in clean()
        assert containers_of(child.pid) == []


def containers_of(pid: int) -> list[str]:
    with engine_client() as client:
        found = client.containers.list(all=True, filters={"label": f"rehearse.pid={pid}"})
        return [container.name for container in found]
