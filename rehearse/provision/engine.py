"""A container engine: found wherever it listens, and swept of what dead runs left in it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from rehearse.errors import ProvisionError

RUN_LABEL = "rehearse.run"
_HOST_LABEL = "rehearse.host"
_BOOT_LABEL = "rehearse.boot"
_PID_LABEL = "rehearse.pid"
_STARTED_LABEL = "rehearse.started"  # the process's start, because pids are used again

_DEFAULT_SOCKET = Path("/var/run/docker.sock")
_MEND = "install Docker or Podman and start it, or set DOCKER_HOST to where it listens"


@contextlib.contextmanager
def engine_client() -> Iterator[Any]:
    """A docker-py client of the engine; ProvisionError, in one line, where none answers.

    DOCKER_HOST and the current Docker context come first, then the usual sockets: Docker's, a rootless
    Docker's, Podman's.
    """
    # heavy, and needed by nobody who rehearses on the embedded server
    from docker.errors import DockerException  # noqa: PLC0415
    from requests.exceptions import RequestException  # noqa: PLC0415
    from testcontainers.core.docker_client import DockerClient, get_docker_host  # noqa: PLC0415

    _require_listening(get_docker_host() or _usual_socket())
    try:
        client = DockerClient().client
    except DockerException as error:
        raise ProvisionError(f"no container engine answers: {plain(error)}", _MEND) from error
    try:
        client.ping()
        yield client
    except (DockerException, RequestException) as error:
        raise ProvisionError(f"the container engine failed: {plain(error)}", _MEND) from error
    finally:
        client.close()


def labels() -> dict[str, str]:
    """What marks a container as this process's."""
    return {
        RUN_LABEL: uuid.uuid4().hex,
        _HOST_LABEL: socket.gethostname(),
        _BOOT_LABEL: _boot(),
        _PID_LABEL: str(os.getpid()),
        _STARTED_LABEL: _started(os.getpid()),
    }


def abandoned(marks: dict[str, str]) -> bool:
    """Whether the process that put these labels on a container is dead. An engine may serve several
    machines: what another one started is never called abandoned.
    """
    if RUN_LABEL not in marks or marks.get(_HOST_LABEL) != socket.gethostname():
        return False
    if marks.get(_BOOT_LABEL) != _boot():
        return True
    pid = marks.get(_PID_LABEL, "")
    return not (pid.isdigit() and _started(int(pid)) == marks.get(_STARTED_LABEL))


def sweep_containers(client: Any) -> tuple[str, ...]:
    """Remove containers of dead runs with their volumes; says which, a line each."""
    from docker.errors import DockerException  # noqa: PLC0415

    done = []
    for container in client.containers.list(all=True, filters={"label": RUN_LABEL}, ignore_removed=True):
        if abandoned(container.labels):
            with contextlib.suppress(DockerException):  # someone else is removing it
                container.remove(force=True, v=True)
                done.append(f"container {container.name} ({container.attrs['Config']['Image']})")
    return tuple(done)


def plain(error: Exception) -> str:
    """One line of what docker-py says."""
    text = str(getattr(error, "explanation", None) or error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__


def _usual_socket() -> str:
    """Where an engine usually listens, if neither environment nor a Docker context says. What is not the
    default goes into the environment, which is the only way that every layer below listens to.
    """
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}"))
    others = (runtime / "docker.sock", runtime / "podman/podman.sock", Path("/run/podman/podman.sock"))
    found = next((path for path in others if path.exists()), None)
    if _DEFAULT_SOCKET.exists() or found is None:
        return f"unix://{_DEFAULT_SOCKET}"
    os.environ["DOCKER_HOST"] = f"unix://{found}"
    return os.environ["DOCKER_HOST"]


def _require_listening(address: str) -> None:
    """ProvisionError if `address` is a Unix socket that takes no connection. docker-py would try it several
    times and say so in a paragraph.
    """
    if not address.startswith("unix://"):
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(address.removeprefix("unix://"))
        except OSError as error:
            reasons = {errno.EACCES: "does not let this user in", errno.ENOENT: "does not exist"}
            reason = reasons.get(error.errno or 0, "has nobody listening")
            raise ProvisionError(f"no container engine answers: {address} {reason}", _MEND) from error


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _started(pid: int) -> str:
    try:
        return f"{psutil.Process(pid).create_time():.2f}"
    except psutil.Error:
        return ""
