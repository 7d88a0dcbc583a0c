"""Where a value of a scenario came from, so that an error can name it: a file's line, or a flag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rehearse.errors import ScenarioError
from rehearse.scenario.lines import Loc

_BLAMELESS = ("*", "[key]", "include")  # how a lone count, a bad key, a file of settings are spelled


@dataclass(frozen=True, slots=True)
class Places:
    """The origin of every value: `lines` of `file`, overlaid by `flags` (path to flag, `--rate`).

    `file` is empty where there is no scenario file.
    """

    file: str = ""
    lines: Mapping[Loc, int] = field(default_factory=dict)
    flags: Mapping[Loc, str] = field(default_factory=dict)

    def flag(self, loc: Loc) -> str | None:
        """The flag that gave the value at `loc`, or the table it is in; None if the file did."""
        for length in range(len(loc), 0, -1):
            if loc[:length] in self.flags:
                return self.flags[loc[:length]]
        return None

    def line(self, loc: Loc) -> int | None:
        """The line of `loc`, or of the nearest thing around it that has one."""
        for length in range(len(loc), 0, -1):
            if loc[:length] in self.lines:
                return self.lines[loc[:length]]
        return None

    def error(self, loc: Loc, what: str, mend: str = "") -> ScenarioError:
        """An error about `loc`; `{}` in `what` is its key or flag."""
        flag = self.flag(loc)
        if flag is not None:
            return ScenarioError(what.replace("{}", f"`{flag}`", 1), mend)
        text = what.replace("{}", f"`{self._key(loc)}`", 1)
        line = self.line(loc)
        if not self.file:
            return ScenarioError(text, mend)
        return ScenarioError(f"{self.file}:{line}: {text}" if line else f"{self.file}: {text}", mend)

    def where(self, loc: Loc) -> str:
        """`loc` for messages of others: its key, with the file and line where there are any."""
        line = self.line(loc)
        key = f"`{self._key(loc)}`"
        if not self.file:
            return key
        return f"{self.file}:{line}: {key}" if line else f"{self.file}: {key}"

    def _key(self, loc: Loc) -> str:
        while loc and loc[-1] in _BLAMELESS and loc not in self.lines:
            loc = loc[:-1]
        if loc and loc[-1] == 0 and loc not in self.lines:
            loc = loc[:-1]
        return dotted(loc)


def dotted(loc: Loc) -> str:
    """A path as people read it: `adversaries[1].kind`, `gates."stall.max"`."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            plain = part.replace("_", "").replace("-", "").isalnum()
            text += ("." if text else "") + (part if plain else f'"{part}"')
    return text
