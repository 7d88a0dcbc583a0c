"""The files of a history of migrations, in the order in which they were applied."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from rehearse.model.migration import SqlFile
from rehearse.scenario.files import Reader, read_text
from rehearse.scenario.values import RefusedError

# The ways back, as common tools name them: they are no part of the history.
_BACK = re.compile(r"(?:^|[._-])(?:down|undo|rollback|revert)\.sql\Z|\AU\d[^/]*__", re.IGNORECASE)
_NUMBER = re.compile(r"(\d+)")


def read_history(reader: Reader, name: str) -> tuple[SqlFile, ...]:
    """The file `name`, or those of the folder of that name. Raises RefusedError."""
    path = reader.find(name)
    files = migrations_in(path) if path.is_dir() else (path,)
    return tuple(SqlFile(str(file), read_text(file)) for file in files)


def migrations_in(folder: Path) -> tuple[Path, ...]:
    """The SQL files in `folder` and below, ways back left out, numbers in their names counted as numbers.

    Raises RefusedError: there are none, or it cannot be read.
    """
    try:
        found = [path for path in folder.rglob("*.sql") if path.is_file()]
    except OSError as error:
        raise RefusedError(
            f"names `{folder}`, which cannot be read", (error.strerror or str(error)).lower()
        ) from None
    forth = [path for path in found if not _BACK.search(path.name)]
    if not forth:
        raise RefusedError(f"names `{folder}`, which holds no migrations", "they are files that end in .sql")
    return tuple(sorted(forth, key=lambda path: in_order(path.relative_to(folder))))


def in_order(path: PurePath) -> list[list[tuple[int, int, str]]]:
    """What to sort by: `V2` before `V10`, and `2024_01` before `2024_02`; pure."""
    return [[_piece(piece) for piece in _NUMBER.split(part) if piece] for part in path.parts]


def _piece(piece: str) -> tuple[int, int, str]:
    return (0, int(piece), piece) if piece.isdecimal() else (1, 0, piece.lower())
