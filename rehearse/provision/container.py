"""`docker:IMAGE`: a server in a container of its own, removed with its volume at the end."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from rehearse.errors import EnvironmentFailure, InputError, ProvisionError, ServerLostError
from rehearse.model.record import Environment
from rehearse.model.scenario import ContainerSpec
from rehearse.model.target import Secret, Target
from rehearse.provision import production
from rehearse.provision.box import Box, Contents, Image, failures, missing, started, whole_processors
from rehearse.provision.engine import engine_client, plain, sweep_containers
from rehearse.provision.limits import as_recorded, described
from rehearse.provision.product import Product, Resources
from rehearse.provision.server import Elsewhere, Request, Server, Standby

_READY_S = 120.0


@contextlib.contextmanager
def provide(request: Request, product: Product) -> Iterator[Server]:
    """A fresh server from an image that keeps the contract of the product's official images."""
    image = Image(_checked(request, product))
    spec, limits = request.spec, request.spec.container or ContainerSpec()
    with engine_client() as client:
        sweep_containers(client)
        digest = image.find(client, product.data)
        info = client.info()
        memory_bytes = min(limits.memory_bytes or info["MemTotal"], info["MemTotal"])
        settings = product.settings_for(memory_bytes, spec.settings)
        takeover = production.NOTHING
        recipe = Recipe(client, product, image, limits, settings)
        if spec.production is not None:
            # a container of its own, because what one was started with cannot be changed
            with _running(recipe) as asked:
                takeover = product.examine(asked.target, spec, memory_bytes)
            recipe = replace(recipe, settings=product.merged(settings, takeover), mend=production.mend(spec))
        resources = Resources(whole_processors(limits, info["NCPU"]), memory_bytes, as_recorded(limits))
        with _running(recipe) as server:
            notes = (
                f"image {image.name} ({digest})",
                *described(limits),
                *product.notes_for(recipe.settings),
            )
            server.describe((*notes, *production.notes(takeover, spec)), resources)
            yield server


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a server's container is made from. `mend`: where to look if its settings stop it."""

    client: Any
    product: Product
    image: Image
    limits: ContainerSpec
    settings: Mapping[str, str]
    mend: str = "mend [database.settings]"

    def command(self, extra: Mapping[str, str] | None = None) -> list[str]:
        """The server with its settings."""
        return self.product.command({**self.settings, **(extra or {})})


class ContainerServer(Elsewhere):
    """A server in a container. See `Server`."""

    def __init__(self, box: Box, password: Secret, recipe: Recipe) -> None:
        self.box = box
        self.recipe = recipe
        self._password = password
        self._environment: Environment | None = None

    @property
    def target(self) -> Target:
        """The maintenance database, as superuser."""
        address = self.box.address
        return self.recipe.product.target(address.host, address.port, self._password)

    @property
    def environment(self) -> Environment:
        """What it is and runs on."""
        assert self._environment is not None
        return self._environment

    def alive(self) -> bool:
        """Whether the container runs; if its engine does not say, whether the server takes a connection."""
        running = self.box.running()
        return self._answers() if running is None else running

    def last_words(self) -> str:
        """Why it ended; also, while it runs, of a crash that it got over."""
        reading = self.recipe.product.log
        try:
            text = self.box.log()
            if self.alive():
                return reading.crash(text)
            ending = self.box.ending()
        except missing():
            return "somebody removed its container"
        except failures() as error:
            return f"the container engine does not answer: {plain(error)}"
        return "; ".join(part for part in (reading.reason(text), ending) if part)

    def kill(self) -> None:
        """SIGKILL to everything in the container."""
        self.box.kill()

    def restart(self) -> None:
        """Start the container again, recovering if it was killed. Its port may be another then."""
        if self.recipe.limits.tmpfs:
            raise EnvironmentFailure(
                "a container whose files are in memory would lose them by a restart",
                "leave container.tmpfs out",
            )
        self.box.restart()
        self.wait_ready()

    def standby(self) -> AbstractContextManager[Standby]:
        """A second container beside it, on a network of their own. See `Standby`."""
        return self.recipe.product.standby_of(self)

    def another(self, box: Box) -> ContainerServer:
        """A server in another container, with the same users."""
        return ContainerServer(box, self._password, self.recipe)

    def describe(self, notes: tuple[str, ...], resources: Resources) -> None:
        """Ask the server what it is, for `environment`."""
        self._environment = self.recipe.product.describe(self.target, "docker", notes, resources)

    def wait_ready(self) -> None:
        """Until it takes connections. The images' first, private start listens on no TCP port."""
        deadline = time.monotonic() + _READY_S
        while True:
            try:
                self.recipe.product.knock(self.target)
            except ServerLostError as error:
                if not self.alive():
                    setting = self.recipe.product.log.bad_setting(self.box.log())
                    if setting:
                        raise InputError(f"the server did not start: {setting}", self.recipe.mend) from error
                    raise ProvisionError(f"the server in the container ended: {self.last_words()}") from error
                if time.monotonic() > deadline:
                    raise ProvisionError(f"no connection after {_READY_S:.0f} s: {error}") from error
                time.sleep(0.1)
            else:
                return

    def _answers(self) -> bool:
        try:
            self.recipe.product.knock(self.target)
        except ServerLostError:
            return False
        return True


def _checked(request: Request, product: Product) -> str:
    image = request.argument.strip()
    if not image:
        raise InputError("docker: names no image", f"docker:{product.example}, for instance")
    if product.wrong_image(image):
        engine = request.spec.engine.value
        raise InputError(
            f"docker:{image} does not look like an image of {engine}, which is the engine",
            f"docker:{product.example}, for instance",
        )
    return image


@contextlib.contextmanager
def _running(recipe: Recipe) -> Iterator[ContainerServer]:
    password = Secret(secrets.token_urlsafe(24))
    contents = Contents(
        command=recipe.command(), port=recipe.product.port, secrets=recipe.product.secrets(password)
    )
    with started(recipe.image, recipe.limits, contents) as box:
        server = ContainerServer(box, password, recipe)
        server.wait_ready()
        yield server
