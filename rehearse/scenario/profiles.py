"""Reading a profile that a flag or a scenario names."""

from __future__ import annotations

from pathlib import Path

from rehearse.errors import ScenarioError
from rehearse.model.profile import Profile
from rehearse.model.profile_file import parse_profile
from rehearse.scenario.files import read_text
from rehearse.scenario.values import RefusedError


def read_profile(path: Path, flag: str) -> Profile:
    """The profile in a file that `flag` names. Raises InputError, naming what is wrong with it."""
    try:
        text = read_text(path)
    except RefusedError as refusal:
        raise ScenarioError(f"`{flag}` {refusal.what}", refusal.mend) from None
    return parse_profile(text, str(path))
