"""`docker:IMAGE`: a PostgreSQL server in a container of its own, removed with its volume at the end."""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearse.engines.postgres.connect import connect
from rehearse.errors import InputError, ProvisionError, ServerLostError
from rehearse.model.record import Environment
from rehearse.model.target import EngineName, Secret, Target
from rehearse.provision import log
from rehearse.provision.engine import engine_client, labels, plain, sweep_containers
from rehearse.provision.environment import describe
from rehearse.provision.limits import Limits, take_limits
from rehearse.provision.server import Request, Server
from rehearse.provision.settings import notes_for, settings_for

_PORT = 5432
_USER = "rehearse"
_DATABASE = "postgres"
_READY_S = 120.0
_PRELOAD = "pg_stat_statements"
_OTHER_ENGINES = re.compile(r"(^|[/-])(mysql|mariadb|percona)")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@contextlib.contextmanager
def provide(request: Request) -> Iterator[Server]:
    """A fresh server from an image that keeps the contract of the official `postgres` images."""
    image = _checked(request)
    limits, own = take_limits(request.spec.settings)
    with engine_client() as client:
        sweep_containers(client)
        digest = _image_digest(client, image)
        info = client.info()
        memory_bytes = min(limits.memory_bytes or info["MemTotal"], info["MemTotal"])
        settings = settings_for(memory_bytes, preload=[_PRELOAD], overrides=own)
        with _running(image, limits, settings) as server:
            notes = (f"image {image} ({digest})", limits.describe(), *notes_for(settings))
            server.describe(notes, cpus=_cpus(limits, info["NCPU"]), memory_bytes=memory_bytes)
            yield server


@dataclass(frozen=True, slots=True)
class _Address:
    host: str
    port: int


class ContainerServer:
    """A server in a container. See `Server`."""

    def __init__(self, container: Any, password: Secret) -> None:
        self._container = container
        self._password = password
        self._environment: Environment | None = None
        self._address = self._find_address()

    @property
    def target(self) -> Target:
        """The maintenance database, as superuser."""
        return Target(
            EngineName.POSTGRES,
            self._address.host,
            self._address.port,
            _DATABASE,
            _USER,
            self._password,
            options=(("sslmode", "prefer"), ("gssencmode", "disable")),
            disposable=True,
        )

    @property
    def environment(self) -> Environment:
        """What it is and runs on."""
        assert self._environment is not None
        return self._environment

    @property
    def pid(self) -> int | None:
        """None: its processes are the engine's."""
        return None

    @property
    def data_directory(self) -> Path | None:
        """None: its files are the engine's."""
        return None

    def alive(self) -> bool:
        """Whether the container runs."""
        return self._status() == "running"

    def last_words(self) -> str:
        """Why it ended; also, while it runs, of a backend's crash that it got over."""
        text = self._logs()
        if self.alive():
            return log.crash(text)
        state = self._wrapped().attrs["State"]
        ending = "out of memory" if state.get("OOMKilled") else f"exit code {state.get('ExitCode')}"
        return "; ".join(part for part in (log.reason(text), ending) if part)

    def kill(self) -> None:
        """SIGKILL to everything in the container."""
        self._wrapped().kill()
        self._wrapped().wait()

    def restart(self) -> None:
        """Start the container again, recovering if it was killed. Its port may be another then."""
        self._wrapped().restart()
        self._address = self._find_address()
        self.wait_ready()

    def describe(self, notes: tuple[str, ...], *, cpus: int, memory_bytes: int) -> None:
        """Ask the server what it is, for `environment`."""
        with connect(self.target, "rehearse") as connection:
            self._environment = describe(connection, "docker", notes, cpus=cpus, memory_bytes=memory_bytes)

    def wait_ready(self) -> None:
        """Until it takes connections. The images' first, private start listens on no TCP port."""
        deadline = time.monotonic() + _READY_S
        while True:
            try:
                connect(self.target, "rehearse").close()
            except ServerLostError as error:
                if not self.alive():
                    setting = log.bad_setting(self._logs())
                    if setting:
                        raise InputError(
                            f"the server did not start: {setting}", "mend [database.settings]"
                        ) from error
                    raise ProvisionError(f"the server in the container ended: {self.last_words()}") from error
                if time.monotonic() > deadline:
                    raise ProvisionError(f"no connection after {_READY_S:.0f} s: {error}") from error
                time.sleep(0.1)
            else:
                return

    def _find_address(self) -> _Address:
        host = self._container.get_container_host_ip()
        port = self._container.get_exposed_port(_PORT)
        return _Address("127.0.0.1" if host == "localhost" else host, port)

    def _wrapped(self) -> Any:
        return self._container.get_wrapped_container()

    def _status(self) -> str:
        self._wrapped().reload()
        return str(self._wrapped().status)

    def _logs(self) -> str:
        return bytes(self._wrapped().logs(tail=200)).decode(errors="replace")


def _checked(request: Request) -> str:
    image = request.argument.strip()
    if not image:
        raise InputError("docker: names no image", "docker:postgres:18, for instance")
    if request.spec.engine is not EngineName.POSTGRES or _OTHER_ENGINES.search(image):
        raise InputError(f"docker:{image}: only PostgreSQL images can be rehearsed on", "docker:postgres:18")
    return image


def _cpus(limits: Limits, processors: int) -> int:
    """Whole processors that the server may use."""
    return max(1, min(processors, int(limits.cpus))) if limits.cpus else processors


def _image_digest(client: Any, image: str) -> str:
    """What the name stands for today; pulls the image if it is not there."""
    from docker.errors import DockerException, ImageNotFound  # noqa: PLC0415 - heavy

    try:
        try:
            found = client.images.get(image)
        except ImageNotFound:
            found = client.images.pull(image)
            found = found[0] if isinstance(found, list) else found
    except DockerException as error:
        raise ProvisionError(
            f"image {image} is not there and cannot be pulled: {plain(error)}",
            "check the name and the registry, or pull it by hand",
        ) from error
    digests = found.attrs.get("RepoDigests") or [found.id]
    return str(digests[0]).rpartition("@")[2]


@contextlib.contextmanager
def _running(image: str, limits: Limits, settings: dict[str, str]) -> Iterator[ContainerServer]:
    from docker.errors import DockerException  # noqa: PLC0415 - heavy

    password = Secret(secrets.token_urlsafe(24))
    try:
        container = _container(image, limits, settings, password)
        try:
            container.start()
            server = ContainerServer(container, password)
            server.wait_ready()
        except BaseException:
            container.stop()
            raise
    except (DockerException, ConnectionError, TimeoutError) as error:
        raise ProvisionError(f"image {image} could not be started: {plain(error)}") from error
    try:
        yield server
    finally:
        with contextlib.suppress(DockerException):  # removed by someone else: that is what we want
            container.stop()


def _container(image: str, limits: Limits, settings: dict[str, str], password: Secret) -> Any:
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - heavy

    flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    container: Any = (
        DockerContainer(image)
        .with_command(["postgres", *flags])
        .with_envs(POSTGRES_USER=_USER, POSTGRES_PASSWORD=password.reveal(), POSTGRES_DB=_DATABASE)
        .with_kwargs(**_resources(limits), labels=labels())
    )
    client = container.get_docker_client()
    _without_missing_reaper(client.client)
    container.ports[f"{_PORT}/tcp"] = ("127.0.0.1", None) if _reached_by_loopback(client) else None
    return container


def _reached_by_loopback(client: Any) -> bool:
    """Whether the engine's ports are this machine's own, so that nobody else need see ours. An engine
    elsewhere, or one that we ask from inside a container, has to listen where we can reach it.
    """
    from testcontainers.core.config import ConnectionMode  # noqa: PLC0415 - heavy

    return client.get_connection_mode() is ConnectionMode.docker_host and client.host() in _LOOPBACK


def _resources(limits: Limits) -> dict[str, int]:
    words = {"shm_size": limits.shared_memory_bytes}
    if limits.cpus:
        words["nano_cpus"] = int(limits.cpus * 1e9)
    if limits.memory_bytes:
        words |= {"mem_limit": limits.memory_bytes, "memswap_limit": limits.memory_bytes}
    return words


def _without_missing_reaper(client: Any) -> None:
    """Let testcontainers' reaper remove the container if we die, where its image is at hand; where it is
    not, fetching it would be a surprise and may be impossible, and our next run sweeps up.
    """
    from docker.errors import ImageNotFound  # noqa: PLC0415 - heavy
    from testcontainers.core.config import testcontainers_config  # noqa: PLC0415 - heavy

    if not testcontainers_config.ryuk_disabled:
        try:
            client.images.get(testcontainers_config.ryuk_image)
        except ImageNotFound:
            testcontainers_config.ryuk_disabled = True
