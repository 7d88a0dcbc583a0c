"""A container engine: found wherever it listens, and swept of what dead runs left in it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rehearse.errors import ProvisionError

RUN_LABEL = "rehearse.run"
_HOST_LABEL = "rehearse.host"
_BOOT_LABEL = "rehearse.boot"
_PID_LABEL = "rehearse.pid"
_STARTED_LABEL = "rehearse.started"  # the process's start, because pids are used again

_CONTAINER_ID = re.compile(r"[0-9a-f]{12}")
_DEFAULT_SOCKET = Path("/var/run/docker.sock")
_SYSTEM_SOCKETS = (Path("/run/podman/podman.sock"),)
_REASONS = {
    errno.EACCES: "its socket does not let this user in",
    errno.ENOENT: "its socket is gone",
    errno.ECONNREFUSED: "nobody listens on its socket",
    errno.ECONNRESET: "it cut the connection",
    errno.EPIPE: "it cut the connection",
}
_MEND = "install Docker or Podman and start it, or set DOCKER_HOST to where it listens"


@contextlib.contextmanager
def engine_client() -> Iterator[Any]:
    """A docker-py client of the engine; ProvisionError, in one line, where none answers."""
    from docker.errors import DockerException  # noqa: PLC0415 - heavy
    from requests.exceptions import RequestException  # noqa: PLC0415 - heavy
    from testcontainers.core.docker_client import DockerClient  # noqa: PLC0415 - heavy

    engine_address()
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


def _of_a_dead_container(client: Any, marks: dict[str, str]) -> bool:
    """Whether what these labels are on was started from inside a container, as in CI, that runs no more on
    this engine. Such a container's host name is the beginning of its id; and this machine's boot, which it
    shares, says that the engine is the one that ran it.
    """
    from docker.errors import DockerException, NotFound  # noqa: PLC0415 - heavy

    host = marks.get(_HOST_LABEL, "")
    if marks.get(_BOOT_LABEL) != _boot() or not _CONTAINER_ID.fullmatch(host) or host == socket.gethostname():
        return False
    try:
        return client.containers.get(host).status in ("exited", "dead")
    except NotFound:
        return True
    except DockerException:
        return False


@contextlib.contextmanager
def own_network(client: Any) -> Iterator[Any]:
    """A network for containers of this run alone, gone at the end. Containers on it know one another by
    alias. ProvisionError if the engine refuses.
    """
    from docker.errors import DockerException  # noqa: PLC0415 - heavy

    try:
        network = client.networks.create(f"rehearse-{uuid.uuid4().hex[:12]}", labels=labels())
    except (DockerException, OSError) as error:
        raise ProvisionError(f"no network could be made for the containers: {plain(error)}") from error
    try:
        yield network
    finally:
        with contextlib.suppress(DockerException, OSError):  # the engine is gone: the next run sweeps up
            _remove_network(network)


def _remove_network(network: Any) -> None:
    """Remove a network, with whatever still is on it cut off."""
    network.reload()
    for container in network.attrs.get("Containers") or ():
        network.disconnect(container, force=True)
    network.remove()


def sweep_containers(client: Any) -> tuple[str, ...]:
    """Remove containers of dead runs with their volumes, and their networks; says which, a line each."""
    from docker.errors import DockerException  # noqa: PLC0415 - heavy

    done = []
    for container in client.containers.list(all=True, filters={"label": RUN_LABEL}, ignore_removed=True):
        if abandoned(container.labels) or _of_a_dead_container(client, container.labels):
            with contextlib.suppress(DockerException):  # someone else is removing it
                container.remove(force=True, v=True)
                done.append(f"container {container.name} ({container.attrs['Config']['Image']})")
    for network in client.networks.list(filters={"label": RUN_LABEL}):
        marks = network.attrs.get("Labels") or {}
        if abandoned(marks) or _of_a_dead_container(client, marks):
            with contextlib.suppress(DockerException):
                _remove_network(network)
                done.append(f"network {network.name}")
    return tuple(done)


def plain(error: Exception) -> str:
    """One line of what docker-py says, or of what the system said below it."""
    reason = _system_reason(error)
    if reason:
        return reason
    text = str(getattr(error, "explanation", None) or error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__


def _system_reason(error: BaseException) -> str:
    """Why the engine's socket failed; empty if that was not it. Wrapped by requests in tuples of errors."""
    if isinstance(error, OSError) and error.errno in _REASONS:
        return _REASONS[error.errno]
    inner = (arg for arg in error.args if isinstance(arg, BaseException))
    return next((reason for reason in map(_system_reason, inner) if reason), "")


def engine_address() -> str:
    """Where the engine listens: as DOCKER_HOST or the current Docker context say, else the first of the usual
    sockets that takes a connection: Docker's, a rootless Docker's, Podman's. ProvisionError where none does.
    """
    from testcontainers.core.docker_client import get_docker_host  # noqa: PLC0415 - heavy

    address = str(get_docker_host() or _usual_socket())
    _require_listening(address)
    return address


def engine_kind(client: Any) -> str:
    """What the engine is, for people: Docker, rootless Docker, Podman."""
    components = client.version().get("Components") or ()
    if any("podman" in str(component.get("Name", "")).lower() for component in components):
        return "Podman"
    rootless = any("rootless" in str(option) for option in client.info().get("SecurityOptions") or ())
    return "rootless Docker" if rootless else "Docker"


def _usual_socket() -> str:
    """What is not the default goes into the environment, the only way that every layer below listens to."""
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}"))
    others = (runtime / "docker.sock", runtime / "podman/podman.sock", *_SYSTEM_SOCKETS)
    found = next((path for path in (_DEFAULT_SOCKET, *others) if not _refusal(f"unix://{path}")), None)
    if found is None or found == _DEFAULT_SOCKET:
        return f"unix://{_DEFAULT_SOCKET}"
    os.environ["DOCKER_HOST"] = f"unix://{found}"
    return os.environ["DOCKER_HOST"]


def _require_listening(address: str) -> None:
    """ProvisionError if `address` is a Unix socket that takes no connection. docker-py would try it several
    times and say so in a paragraph.
    """
    reason = _refusal(address)
    if reason:
        raise ProvisionError(f"no container engine answers: {address} {reason}", _MEND)


def _refusal(address: str) -> str:
    """Why a Unix socket takes no connection; empty if it does, or if `address` is of another kind."""
    if not address.startswith("unix://"):
        return ""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(address.removeprefix("unix://"))
        except OSError as error:
            reasons = {errno.EACCES: "does not let this user in", errno.ENOENT: "does not exist"}
            return reasons.get(error.errno or 0, "has nobody listening")
    return ""


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _started(pid: int) -> str:
    """When a process was started, in ticks since the machine was: as a time of day it would change whenever
    the clock is set. Empty if there is none.
    """
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""
