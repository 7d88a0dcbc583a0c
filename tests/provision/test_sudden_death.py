"""Whatever kills us, the server and its files are gone; how soon, `make deaths` measures."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from rehearse.provision.clean import clean
from rehearse.provision.engine import engine_client
from rehearse.provision.sweep import sweep_directories
from tests.provision.deaths import containers_of
from tests.provision.runs import ROOT, gone, until

HOLDER = Path(__file__).with_name("holder.py")
GONE_WITHIN_S = 60.0  # half a second on a quiet machine
MIDWAY_TRIES = 5


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


def announcement(child: subprocess.Popen[str]) -> dict[str, Any]:
    assert child.stdout is not None
    words: dict[str, Any] = json.loads(child.stdout.readline())
    return words


def everything_under(child: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(child.pid).children(recursive=True)


def is_warden(process: psutil.Process) -> bool:
    """A server's workers come and go: one that was listed may have ended since."""
    try:
        return "warden.py" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def kill_and_wait(child: subprocess.Popen[str], servers: list[psutil.Process], base: Path) -> None:
    """SIGKILL; the servers are gone at once, their wardens when the files are."""
    wardens = [process for process in servers if is_warden(process)]
    assert wardens
    child.kill()
    until(lambda: gone([process for process in servers if process not in wardens]), GONE_WITHIN_S)
    until(lambda: gone(wardens) and not any(base.iterdir()), GONE_WITHIN_S)


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
        kill_and_wait(child, servers, base)
    until(lambda: not unused(shared_memory() - before), GONE_WITHIN_S)


def held_in_initdb(process: psutil.Process) -> bool:
    """Stop the process if it is an initdb that has not ended."""
    try:
        if process.name() != "initdb":
            return False
        process.suspend()
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_kill_9_during_initdb_leaves_nothing(base: Path) -> None:
    for _ in range(MIDWAY_TRIES):  # it lasts a second, and this process may be kept from looking for as long
        with holding("idle", base) as child:
            until(lambda: any(base.glob("rehearse-*/data/base")), GONE_WITHIN_S)
            midway = [process for process in everything_under(child) if held_in_initdb(process)]
            kill_and_wait(child, everything_under(child), base)
        if midway:
            return
    pytest.fail("initdb was over each time")


def test_kill_9_as_the_server_starts_leaves_nothing(base: Path) -> None:
    with holding("idle", base) as child:
        until(lambda: any(base.glob("rehearse-*/socket/.s.PGSQL.*")), GONE_WITHIN_S)
        servers = everything_under(child)
        kill_and_wait(child, servers, base)


def test_kill_9_takes_the_standby_along(base: Path) -> None:
    with holding("standby", base) as child:
        words = announcement(child)
        servers = everything_under(child)
        assert {words["pid"], words["standby"]} < {p.pid for p in servers}
        assert len({Path(words[name]).parent for name in ("data", "copy")}) == 2
        kill_and_wait(child, servers, base)


def test_kill_9_during_a_base_backup_leaves_nothing(base: Path) -> None:
    with holding("standby", base) as child:
        until(lambda: len([*base.glob("rehearse-*/data/base")]) == 2, GONE_WITHIN_S)
        servers = everything_under(child)
        kill_and_wait(child, servers, base)


def test_workers_that_outlive_us_do_not_hold_the_server(base: Path) -> None:
    with holding("workers", base) as child:
        words = announcement(child)
        worker = psutil.Process(words["worker"])
        server = psutil.Process(words["pid"])
        sleepers = [p for p in everything_under(child) if p.name() == "sleep"]
        child.kill()
        try:
            until(lambda: gone([server]), GONE_WITHIN_S)
            until(lambda: not any(base.iterdir()), GONE_WITHIN_S)
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
        until(lambda: gone(servers), GONE_WITHIN_S)  # the postmaster's own patience with its backends is 5 s
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
        assert child.wait(GONE_WITHIN_S) == 0
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
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["data"].startswith(str(home))
    assert not any(home.glob("rehearse-*"))


@pytest.mark.container
def test_a_dead_runs_containers_are_removed_by_the_next(base: Path, container_images: frozenset[str]) -> None:
    assert "postgres:17" in container_images
    with holding("standby", base, "docker:postgres:17") as child:
        announcement(child)
        clean()
        *containers, network = containers_of(child.pid)
        assert len(containers) == 2
        volumes = {mount["Name"] for container in containers for mount in container.attrs["Mounts"]}
        child.kill()
        child.wait()
        removed = clean()
        assert {f"container {container.name} (postgres:17)" for container in containers} <= set(removed)
        assert f"network {network.name}" in removed
        assert containers_of(child.pid) == []
        with engine_client() as client:
            assert not {volume.name for volume in client.volumes.list()} & volumes
        assert volumes
