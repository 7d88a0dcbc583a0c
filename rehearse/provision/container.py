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
from rehearse.errors import EnvironmentFailure, InputError, ProvisionError, ServerLostError
from rehearse.model.record import Environment
from rehearse.model.scenario import ContainerSpec
from rehearse.model.target import EngineName, Secret, Target
from rehearse.provision import log, production
from rehearse.provision.engine import engine_client, labels, plain, sweep_containers
from rehearse.provision.environment import describe
from rehearse.provision.limits import as_recorded, described, memory_mounts, resources
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
    image = _Image(_checked(request))
    spec, limits = request.spec, request.spec.container or ContainerSpec()
    with engine_client() as client:
        sweep_containers(client)
        digest = image.find(client)
        info = client.info()
        memory_bytes = min(limits.memory_bytes or info["MemTotal"], info["MemTotal"])
        settings = settings_for(memory_bytes, preload=[_PRELOAD], overrides=spec.settings)
        takeover = production.NOTHING
        if spec.production is not None:
            # a container of its own, because what one was started with cannot be changed
            with _running(image, limits, settings) as asked:
                takeover = production.examine(asked.target, spec, memory_bytes)
            settings |= takeover.taken
        with _running(image, limits, settings, production.mend(spec)) as server:
            notes = (f"image {image.name} ({digest})", *described(limits), *notes_for(settings))
            server.describe(
                (*notes, *production.notes(takeover, spec)),
                cpus=_cpus(limits, info["NCPU"]),
                memory_bytes=memory_bytes,
                limits=as_recorded(limits),
            )
            yield server


class _Image:
    """An image by its name; once found, also where it keeps its data."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.volumes: tuple[str, ...] = ()

    def find(self, client: Any) -> str:
        """What the name stands for today; pulls the image if it is not there."""
        found = _pulled(client, self.name)
        self.volumes = tuple(found.attrs["Config"].get("Volumes") or ("/var/lib/postgresql",))
        digests = found.attrs.get("RepoDigests") or [found.id]
        return str(digests[0]).rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class _Address:
    host: str
    port: int


class ContainerServer:
    """A server in a container. See `Server`."""

    def __init__(self, container: Any, password: Secret, *, in_memory: bool, mend: str) -> None:
        self._container = container
        self._in_memory = in_memory
        self._mend = mend
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
        """Whether the container runs; if its engine does not say, whether the server takes a connection."""
        try:
            return self._status() == "running"
        except _missing():
            return False
        except _engine_failures():
            return _answers(self.target)

    def last_words(self) -> str:
        """Why it ended; also, while it runs, of a backend's crash that it got over."""
        try:
            text = self._logs()
            if self.alive():
                return log.crash(text)
            state = self._wrapped().attrs["State"]
        except _missing():
            return "somebody removed its container"
        except _engine_failures() as error:
            return f"the container engine does not answer: {plain(error)}"
        ending = "out of memory" if state.get("OOMKilled") else f"exit code {state.get('ExitCode')}"
        return "; ".join(part for part in (log.reason(text), ending) if part)

    def kill(self) -> None:
        """SIGKILL to everything in the container."""
        self._wrapped().kill()
        self._wrapped().wait()

    def restart(self) -> None:
        """Start the container again, recovering if it was killed. Its port may be another then."""
        if self._in_memory:
            raise EnvironmentFailure(
                "a container whose files are in memory would lose them by a restart",
                "leave container.tmpfs out",
            )
        self._wrapped().restart()
        self._address = self._find_address()
        self.wait_ready()

    def describe(
        self, notes: tuple[str, ...], *, cpus: int, memory_bytes: int, limits: tuple[tuple[str, str], ...]
    ) -> None:
        """Ask the server what it is, for `environment`."""
        with connect(self.target, "rehearse") as connection:
            self._environment = describe(
                connection, "docker", notes, cpus=cpus, memory_bytes=memory_bytes, limits=limits
            )

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
                        raise InputError(f"the server did not start: {setting}", self._mend) from error
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


def _engine_failures() -> tuple[type[Exception], ...]:
    """What docker-py raises where the engine does not do as asked, or is gone."""
    from docker.errors import DockerException  # noqa: PLC0415 - heavy

    return DockerException, OSError


def _missing() -> type[Exception]:
    """What docker-py raises for a container that is not there."""
    from docker.errors import NotFound  # noqa: PLC0415 - heavy

    return NotFound  # type: ignore[no-any-return]  # docker-py has no types


def _answers(target: Target) -> bool:
    try:
        connect(target, "rehearse").close()
    except ServerLostError:
        return False
    return True


def _checked(request: Request) -> str:
    image = request.argument.strip()
    if not image:
        raise InputError("docker: names no image", "docker:postgres:18, for instance")
    if request.spec.engine is not EngineName.POSTGRES or _OTHER_ENGINES.search(image):
        raise InputError(f"docker:{image}: only PostgreSQL images can be rehearsed on", "docker:postgres:18")
    return image


def _cpus(limits: ContainerSpec, processors: int) -> int:
    """Whole processors that the server may use."""
    return max(1, min(processors, int(limits.cpus))) if limits.cpus else processors


def _pulled(client: Any, image: str) -> Any:
    from docker.errors import DockerException, ImageNotFound  # noqa: PLC0415 - heavy

    try:
        try:
            return client.images.get(image)
        except ImageNotFound:
            found = client.images.pull(image)
            return found[0] if isinstance(found, list) else found
    except DockerException as error:
        raise ProvisionError(
            f"image {image} is not there and cannot be pulled: {plain(error)}",
            "check the name and the registry, or pull it by hand",
        ) from error


@contextlib.contextmanager
def _running(
    image: _Image, limits: ContainerSpec, settings: dict[str, str], mend: str = "mend [database.settings]"
) -> Iterator[ContainerServer]:
    from docker.errors import DockerException  # noqa: PLC0415 - heavy

    password = Secret(secrets.token_urlsafe(24))
    try:
        container = _container(image, limits, settings, password)
        try:
            container.start()
            server = ContainerServer(container, password, in_memory=limits.tmpfs, mend=mend)
            server.wait_ready()
        except BaseException:
            with contextlib.suppress(DockerException, OSError):
                container.stop()
            raise
    except (DockerException, OSError) as error:
        raise ProvisionError(f"image {image.name} could not be started: {plain(error)}") from error
    try:
        yield server
    finally:
        # removed by someone else: that is what we want; or the engine is gone: the next run sweeps up
        with contextlib.suppress(DockerException, OSError):
            container.stop()


def _container(image: _Image, limits: ContainerSpec, settings: dict[str, str], password: Secret) -> Any:
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - heavy

    flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    container: Any = (
        DockerContainer(image.name)
        .with_command(["postgres", *flags])
        .with_envs(POSTGRES_USER=_USER, POSTGRES_PASSWORD=password.reveal(), POSTGRES_DB=_DATABASE)
        .with_kwargs(**resources(limits), labels=labels())
    )
    container.tmpfs.update(memory_mounts(limits, image.volumes))
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
