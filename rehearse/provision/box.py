"""A container with a server in it, whatever the engine of the database: image, limits, address, end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rehearse.errors import ProvisionError
from rehearse.model.scenario import ContainerSpec
from rehearse.provision.engine import labels, plain
from rehearse.provision.limits import memory_mounts, resources

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_LOG_LINES = 200


class Image:
    """An image by its name; once found, also where it keeps its data."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.volumes: tuple[str, ...] = ()

    def find(self, client: Any, data: str) -> str:
        """What the name stands for today; pulls the image if it is not there. `data` is where its files
        are if it declares no volume.
        """
        found = _pulled(client, self.name)
        self.volumes = tuple(found.attrs["Config"].get("Volumes") or (data,))
        digests = found.attrs.get("RepoDigests") or [found.id]
        return str(digests[0]).rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class Contents:
    """What is run in a container, and the port it listens on. `secrets` are environment variables too."""

    command: Sequence[str]
    port: int
    secrets: Mapping[str, str] = field(repr=False)
    entrypoint: Sequence[str] | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """Where a container's port is reached from here."""

    host: str
    port: int


class Box:
    """A container that was started."""

    def __init__(self, container: Any, port: int) -> None:
        self._container = container
        self._port = port
        self.address = self._find_address()

    @property
    def container_id(self) -> str:
        """The engine's name for it."""
        return str(self._wrapped().id)

    def running(self) -> bool | None:
        """Whether it runs; None if its engine does not say."""
        try:
            self._wrapped().reload()
        except missing():
            return False
        except failures():
            return None
        return str(self._wrapped().status) == "running"

    def log(self) -> str:
        """The end of what its processes printed."""
        return bytes(self._wrapped().logs(tail=_LOG_LINES)).decode(errors="replace")

    def ending(self) -> str:
        """How it ended, as of the last look at it."""
        state = self._wrapped().attrs["State"]
        return "out of memory" if state.get("OOMKilled") else f"exit code {state.get('ExitCode')}"

    def execute(self, argv: Sequence[str]) -> None:
        """Run a program in it to its end; ProvisionError if that fails."""
        code, output = self._wrapped().exec_run(list(argv))
        if code != 0:
            reason = bytes(output).decode(errors="replace").strip().splitlines()[-1:]
            raise ProvisionError(
                f"{argv[0]} failed in the container: {''.join(reason) or f'exit code {code}'}"
            )

    def kill(self) -> None:
        """SIGKILL to everything in it."""
        self._wrapped().kill()
        self._wrapped().wait()

    def restart(self) -> None:
        """Start it again. Its port may be another then."""
        self._wrapped().restart()
        self.address = self._find_address()

    def _find_address(self) -> Address:
        host = self._container.get_container_host_ip()
        port = self._container.get_exposed_port(self._port)
        return Address("127.0.0.1" if host == "localhost" else host, port)

    def _wrapped(self) -> Any:
        return self._container.get_wrapped_container()


@contextlib.contextmanager
def started(image: Image, limits: ContainerSpec, contents: Contents) -> Iterator[Box]:
    """A container, removed with its volume at the end; ProvisionError if the engine refuses."""
    container = _container(image, limits, contents)
    try:
        container.start()
        box = Box(container, contents.port)
    except failures() as error:
        _remove(container)
        raise ProvisionError(f"image {image.name} could not be started: {plain(error)}") from error
    except BaseException:
        _remove(container)
        raise
    try:
        yield box
    finally:
        _remove(container)


def _remove(container: Any) -> None:
    # removed by someone else: that is what we want; or the engine is gone: the next run sweeps up
    with contextlib.suppress(*failures()):
        container.stop()


def failures() -> tuple[type[Exception], ...]:
    """What docker-py raises where the engine does not do as asked, or is gone."""
    from docker.errors import DockerException  # noqa: PLC0415 - heavy

    return DockerException, OSError


def missing() -> type[Exception]:
    """What docker-py raises for a container that is not there."""
    from docker.errors import NotFound  # noqa: PLC0415 - heavy

    return NotFound  # type: ignore[no-any-return]  # docker-py has no types


def whole_processors(limits: ContainerSpec, processors: int) -> int:
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


def _container(image: Image, limits: ContainerSpec, contents: Contents) -> Any:
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - heavy

    words: dict[str, Any] = {**resources(limits), "labels": labels()}
    if contents.entrypoint is not None:
        words["entrypoint"] = list(contents.entrypoint)
    if contents.user is not None:
        words["user"] = contents.user
    container: Any = (
        DockerContainer(image.name)
        .with_command(list(contents.command))
        .with_envs(**contents.secrets)
        .with_kwargs(**words)
    )
    container.tmpfs.update(memory_mounts(limits, image.volumes))
    client = container.get_docker_client()
    _without_missing_reaper(client.client)
    container.ports[f"{contents.port}/tcp"] = ("127.0.0.1", None) if _reached_by_loopback(client) else None
    return container


def _reached_by_loopback(client: Any) -> bool:
    """Whether the engine's ports are this machine's own, so that nobody else need see ours. An engine
    elsewhere, or one that we ask from inside a container, has to listen where we can reach it.
    """
    from testcontainers.core.config import ConnectionMode  # noqa: PLC0415 - heavy

    return client.get_connection_mode() is ConnectionMode.docker_host and client.host() in _LOOPBACK


def has_reaper(client: Any) -> bool:
    """Whether testcontainers' reaper, Ryuk, can remove a container if we die: where it is wanted, and its
    image is at hand. Fetching it would be a surprise and may be impossible; our next run sweeps up as well.
    """
    from docker.errors import ImageNotFound  # noqa: PLC0415 - heavy
    from testcontainers.core.config import testcontainers_config  # noqa: PLC0415 - heavy

    if testcontainers_config.ryuk_disabled:
        return False
    try:
        client.images.get(testcontainers_config.ryuk_image)
    except ImageNotFound:
        return False
    return True


def _without_missing_reaper(client: Any) -> None:
    from testcontainers.core.config import testcontainers_config  # noqa: PLC0415 - heavy

    if not has_reaper(client):
        testcontainers_config.ryuk_disabled = True
