"""A database without a rehearsal: the table [database] of a scenario, from flags."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rehearse.errors import ScenarioError
from rehearse.model.scenario import DatabaseSpec
from rehearse.scenario.build import build_database
from rehearse.scenario.lines import Loc
from rehearse.scenario.places import Places


def database_from_flags(
    provision: str,
    engine: str,
    *,
    settings: Sequence[str] = (),
    init: Sequence[Path] = (),
    extensions: Sequence[str] = (),
    container: dict[str, object] | None = None,
) -> DatabaseSpec:
    """The same keys and checks as in a scenario. `settings` are NAME=VALUE, or include=FILE; `container` has
    those of [database.container] that are given. Raises ScenarioError, naming the flag.
    """
    table: dict[str, object] = {"provision": provision, "engine": engine}
    places: dict[Loc, str] = {("database", key): f"--{key}" for key in ("provision", "engine", "init")}
    places["database", "extensions"] = "--extension"
    if settings:
        table["settings"] = dict(_pair(text) for text in settings)
        places |= {("database", "settings", _pair(text)[0]): f"--setting {text}" for text in settings}
    if init:
        table["init"] = [str(path) for path in init]
    if extensions:
        table["extensions"] = list(extensions)
    given = {key: value for key, value in (container or {}).items() if value is not None}
    if given:
        table["container"] = given
        places |= {("database", "container", key): f"--{key.replace('_', '-')}" for key in given}
    return build_database({"database": table}, Places(flags=places))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ScenarioError(f"`--setting {text}` has no value", "write --setting NAME=VALUE")
    return name, value
