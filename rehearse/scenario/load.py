"""A scenario file, with any flags that change it, as a `Scenario`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from rehearse.errors import ScenarioError
from rehearse.model.scenario import Scenario
from rehearse.scenario.build import Draft, build
from rehearse.scenario.files import read_text
from rehearse.scenario.flags import Flags, flag_document, flag_places, merged
from rehearse.scenario.lines import key_lines
from rehearse.scenario.places import Places
from rehearse.scenario.values import RefusedError

_POSITION = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)")

_TABLE = re.compile(r"\('([^']+)',\)")


def load_scenario(path: Path, overrides: Flags | None = None) -> Scenario:
    """Read the scenario file at `path`; flags in `overrides` take precedence over what it says.

    Files that it names are looked for in its own folder first, then in the current directory. Raises
    ScenarioError: what is wrong, with file, line and key, and the nearest valid one.
    """
    flags: Flags = overrides or {}
    text = _text_of(path)
    document = _parsed(text, str(path))
    places = Places(str(path), key_lines(text), flag_places(flags))
    return build(
        Draft(
            document=merged(document, flag_document(flags)),
            places=places,
            name=path.stem,
            source=str(path),
            folder=path.parent,
            gates=flags.get("gates", ()),
            aborts=flags.get("aborts", ()),
        )
    )


def _text_of(path: Path) -> str:
    try:
        return read_text(path)
    except RefusedError as refusal:
        what = refusal.what.removeprefix(f"names `{path}`, which ")
        raise ScenarioError(f"{path}: {what}", refusal.mend) from None


def _parsed(text: str, name: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        position = _POSITION.search(message)
        line = position[1] if position and position[1] else text.count("\n") + 1
        what = _TABLE.sub(lambda match: f"[{match[1]}]", _POSITION.sub("", message))
        raise ScenarioError(f"{name}:{line}: not valid TOML: {what[:1].lower()}{what[1:]}") from None
