"""The files that a scenario names: where they are looked for, and what is said of one that is not there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rehearse.model.migration import SqlFile
from rehearse.scenario.files import Reader
from rehearse.scenario.lines import Loc
from rehearse.scenario.places import Places
from rehearse.scenario.values import RefusedError


class Sources:
    """Files that the scenario file names are looked for in its `folder` and then in the current directory;
    those that flags name in the current directory alone. Errors are ScenarioErrors that name the place.
    """

    def __init__(self, places: Places, folder: Path | None) -> None:
        here = Path()
        self.places = places
        self.of_file = Reader((folder, here) if folder is not None else (here,))
        self._of_flags = Reader((here,))

    def read(self, loc: Loc, name: str, *, may_be_empty: bool = True) -> SqlFile:
        """The file that `loc` of the scenario names."""
        reader = self._of_flags if self.places.flag(loc) else self.of_file
        try:
            file = reader.read(name)
        except RefusedError as refusal:
            raise self.places.error(loc, "{} " + refusal.what, refusal.mend) from None
        if not may_be_empty and not file.text.strip():
            raise self.places.error(loc, f"{{}} names `{name}`, which is empty")
        return file

    def files(self, loc: Loc, names: Sequence[str], *, may_be_empty: bool = True) -> tuple[SqlFile, ...]:
        """Those of a list at `loc`."""
        return tuple(
            self.read((*loc, index), name, may_be_empty=may_be_empty) for index, name in enumerate(names)
        )
