"""Finding and reading the files that a scenario names."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rehearse.model.migration import SqlFile
from rehearse.scenario.nearest import nearest
from rehearse.scenario.values import RefusedError

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads files named relative to `folders`: the first folder that has such a file gives it."""

    folders: tuple[Path, ...]

    def read(self, name: str) -> SqlFile:
        """The file, named by where it was found (so that files it includes are found beside it).

        Raises RefusedError: missing, unreadable, not UTF-8.
        """
        path = self.find(name)
        return SqlFile(str(path), read_text(path))

    def find(self, name: str) -> Path:
        """Where the file is. Raises RefusedError, naming every place looked at."""
        places = list(dict.fromkeys(folder / name for folder in self.folders))
        for path in places:
            if _exists(path):
                return path
        looked = "looked for " + " and ".join(str(path) for path in places)
        similar = _similar_file(places)
        mend = f"did you mean `{similar}`? ({looked})" if similar else looked
        raise RefusedError(f"names `{name}`, which does not exist", mend)


def _exists(path: Path) -> bool:
    """Whether there is something at `path`; what cannot be looked at is left to whoever reads it."""
    try:
        return path.exists()
    except ValueError:  # a NUL in the name
        return False
    except OSError:
        return True


def _similar_file(places: Sequence[Path]) -> str | None:
    """A file in one of the folders looked into, whose name is close to the one wanted."""
    for path in places:
        with contextlib.suppress(OSError, ValueError):
            # without their endings, which most names have in common
            alike = sorted(path.parent.iterdir(), key=lambda entry: (entry.suffix != path.suffix, entry.name))
            stems = [entry.stem for entry in alike]
            found = nearest(path.stem, stems)
            if found is not None:
                return str(alike[stems.index(found)])
    return None


def read_text(path: Path) -> str:
    """The text of a UTF-8 file (a byte order mark is dropped). Raises RefusedError, naming the file."""
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise RefusedError(f"names `{path}`, which is a folder", "name the files in it, in order") from None
    except FileNotFoundError:
        raise RefusedError(f"names `{path}`, which does not exist") from None
    except OSError as error:
        raise RefusedError(
            f"names `{path}`, which cannot be read", (error.strerror or str(error)).lower()
        ) from None
    return decode(data, str(path))


def decode(data: bytes, name: str) -> str:
    """`data` as UTF-8 text. Raises RefusedError for anything else, naming the place in the file."""
    if data.startswith(_UTF16):
        raise RefusedError(f"names `{name}`, which is UTF-16 text", "save it as UTF-8")
    if b"\0" in data:
        raise RefusedError(f"names `{name}`, which is a binary file", "name a text file of SQL")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RefusedError(
            f"names `{name}`, which is not UTF-8 text (line {line})", "save it as UTF-8"
        ) from None
