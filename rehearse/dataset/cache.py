"""Loaded data sets kept on disk: the files of a stopped server, by the hash of what made them.

An entry appears whole or not at all: it is written beside its place, synced, and renamed there. Whoever
reads one holds a shared lock on it, whoever removes one an exclusive lock, so that several runs can share
the cache; a run that is killed leaves a part that the next one sweeps away.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rehearse.errors import EnvironmentFailure, InputError

FORMAT = 1
DEFAULT_LIMIT_BYTES = 10 * 1024**3
OFF = "off"
DIRECTORY_VARIABLE, LIMIT_VARIABLE = "REHEARSE_CACHE", "REHEARSE_CACHE_SIZE"

_CLONE = 0x40049409  # FICLONE: another file's blocks become this one's, shared until either changes
_KEY = re.compile(r"[0-9a-f]{16,64}")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgtKMGT])(?:i?[bB])?")
_SMALL_BYTES = 1 << 16  # read and written at once
_THREADS = 2  # more are in each other's way
_MARGIN_BYTES = 1 << 30  # that a copy leaves free


@dataclass(frozen=True, slots=True)
class Entry:
    """One data set that is kept. Times are seconds since 1970; `notes` are its maker's own."""

    key: str
    path: Path
    name: str
    size_bytes: int
    rows: int
    created_at: float
    used_at: float
    notes: Mapping[str, object]
    files: Mapping[str, int]

    @property
    def data(self) -> Path:
        """The files of the stopped server."""
        return self.path / "data"


@dataclass(frozen=True, slots=True)
class Kept:
    """What is to be known of a data set beside its files."""

    name: str
    rows: int
    notes: Mapping[str, object]


def cache_from(environment: Mapping[str, str]) -> Cache | None:
    """The user's cache: REHEARSE_CACHE is its directory, or `off`; REHEARSE_CACHE_SIZE its limit.

    InputError where that is no size.
    """
    named = environment.get(DIRECTORY_VARIABLE, "")
    if named == OFF:
        return None
    limit = environment.get(LIMIT_VARIABLE)
    home = environment.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    root = Path(named) if named else Path(home) / "rehearse"
    return Cache(root / "datasets", DEFAULT_LIMIT_BYTES if limit is None else _size(limit))


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{LIMIT_VARIABLE} is not a size: {text}", "write 10GB or 500MB")
    return int(float(match[1]) * 1024 ** ("KMGT".index(match[2].upper()) + 1))


@dataclass(frozen=True, slots=True)
class Cache:
    """The entries of one directory. Nothing is made before the first one is stored."""

    root: Path
    limit_bytes: int = DEFAULT_LIMIT_BYTES

    def entries(self) -> list[Entry]:
        """What is kept, used last first. Whatever cannot be read is no entry."""
        if not self.root.is_dir():
            return []
        found = (_read(path) for path in self.root.iterdir() if _KEY.fullmatch(path.name))
        return sorted((entry for entry in found if entry), key=lambda entry: -entry.used_at)

    @contextlib.contextmanager
    def reading(self, key: str) -> Iterator[Entry | None]:
        """The entry of that key, which nobody removes meanwhile; None if there is none."""
        with _locked(self.root / key / "entry.json", fcntl.LOCK_SH) as held:
            entry = _read(self.root / key) if held else None
            if entry is not None:
                os.utime(entry.path / "entry.json")
            yield entry

    def store(self, key: str, data: Path, kept: Kept, skip: Callable[[str], bool]) -> str:
        """Copies the files of a stopped server in as the entry of `key`; says how they were copied.

        `skip` tells by its path within `data` whether a file is left out. Returns "" where the entry is there
        already, or is larger than the limit or the room on the disk. Raises EnvironmentFailure if the copy
        fails.
        """
        size = sum(path.stat().st_size for path in data.rglob("*") if path.is_file())
        if (self.root / key).exists() or size > self.limit_bytes:
            return ""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.root.chmod(0o700)
            self._sweep()
            self.prune(self.limit_bytes - size)
            if shutil.disk_usage(self.root).free < size + _MARGIN_BYTES:
                return ""
            return self._store(key, data, kept, skip)
        except OSError as error:
            raise EnvironmentFailure(f"the data set could not be cached: {error.strerror}") from error

    def _store(self, key: str, data: Path, kept: Kept, skip: Callable[[str], bool]) -> str:
        part = self.root / f".part-{secrets.token_hex(8)}"
        part.mkdir(mode=0o700)
        try:
            with _locked(part / "lock", fcntl.LOCK_EX, create=True):
                files, method = copy_files(data, part / "data", skip)
                document = {
                    "format": FORMAT,
                    "name": kept.name,
                    "rows": kept.rows,
                    "created_at": time.time(),
                    "notes": kept.notes,
                    "files": files,
                }
                (part / "entry.json").write_text(json.dumps(document), encoding="utf-8")
                _sync(part)  # after a loss of power there is a whole entry, or none
                with contextlib.suppress(OSError):  # another run was quicker
                    part.rename(self.root / key)
                    return method
            return ""
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def prune(self, limit_bytes: int, older_than_s: float | None = None) -> list[Entry]:
        """Removes entries, used longest ago first, until the rest comes to `limit_bytes` at most; and those
        not used for `older_than_s`. What a run is reading stays. Returns what was removed.
        """
        self._sweep()
        left = self.entries()
        total, now, removed = sum(entry.size_bytes for entry in left), time.time(), []
        for entry in reversed(left):
            old = older_than_s is not None and now - entry.used_at > older_than_s
            if (total > limit_bytes or old) and self._remove(entry.path):
                total -= entry.size_bytes
                removed.append(entry)
        return removed

    def has(self, key: str) -> bool:
        """Whether there is an entry of that key."""
        return _read(self.root / key) is not None

    def remove(self, key: str) -> None:
        """Removes one entry, unless a run is reading it."""
        self._remove(self.root / key)

    def _remove(self, path: Path) -> bool:
        with _locked(path / "entry.json", fcntl.LOCK_EX | fcntl.LOCK_NB) as held:
            if not held:
                return False
            doomed = self.root / f".part-{secrets.token_hex(8)}"
            path.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
        return True

    def _sweep(self) -> None:
        """Removes what killed runs have left, and entries that cannot be read."""
        if not self.root.is_dir():
            return
        for path in self.root.iterdir():
            if path.name.startswith(".part-"):
                if (path / "lock").exists():
                    with _locked(path / "lock", fcntl.LOCK_EX | fcntl.LOCK_NB) as held:
                        if not held:
                            continue
                elif time.time() - path.stat().st_mtime < 60:
                    continue  # it may have been made a moment ago, and not be locked yet
                shutil.rmtree(path, ignore_errors=True)
            elif _KEY.fullmatch(path.name) and _read(path) is None:
                shutil.rmtree(path, ignore_errors=True)


def copy_files(
    source: Path, target: Path, skip: Callable[[str], bool] = lambda _: False
) -> tuple[dict[str, int], str]:
    """Copies a directory, sharing blocks where the file system can; sizes by relative path, and the method.

    Symbolic links are refused: a tablespace would stay shared.
    """
    paths: list[str] = []
    for here, names in _walk(source):
        (target / here).mkdir(mode=0o700)
        paths += [path for name in names if not skip(path := f"{here}{name}")]
    copier = _Copier(str(source), str(target))
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="copy") as pool:
        sizes = dict(zip(paths, pool.map(copier.copy, paths, chunksize=16), strict=True))
    return sizes, "copy" if copier.copied else "reflink"


def _walk(source: Path) -> Iterator[tuple[str, list[str]]]:
    """Every directory by its path within `source`, with a slash at its end, a parent before its children;
    and its files' names.
    """
    waiting = [""]
    while waiting:
        here = waiting.pop()
        files: list[str] = []
        with os.scandir(source / here) as entries:
            for entry in entries:
                if entry.is_symlink():
                    raise EnvironmentFailure(
                        f"{here}{entry.name} is a link: a data set with tablespaces is not copied"
                    )
                if entry.is_dir():
                    waiting.append(f"{here}{entry.name}/")
                else:
                    files.append(entry.name)
        yield here, files


class _Copier:
    """Copies files one by one, from several threads. A data directory has some 1,500, most of them of one
    page or two, so it is the number of calls to the system that counts.
    """

    def __init__(self, source: str, target: str) -> None:
        self._source, self._target = source, target
        self._clones = True
        self.copied = False

    def copy(self, path: str) -> int:
        """Its size. OSError."""
        reader = os.open(f"{self._source}/{path}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            writer = os.open(f"{self._target}/{path}", flags, 0o600)
            try:
                return self._copied(reader, writer)
            finally:
                os.close(writer)
        finally:
            os.close(reader)

    def _copied(self, reader: int, writer: int) -> int:
        if self._clones:
            try:
                fcntl.ioctl(writer, _CLONE, reader)
                return os.fstat(writer).st_size
            except OSError:
                self._clones = False  # what one file's file system cannot, another's neither
        self.copied = True
        first = os.read(reader, _SMALL_BYTES)
        written = _write(writer, first)
        if len(first) == _SMALL_BYTES:
            while sent := os.sendfile(writer, reader, None, 1 << 24):
                written += sent
        return written


def _write(writer: int, content: bytes) -> int:
    left = memoryview(content)
    while left:
        left = left[os.write(writer, left) :]
    return len(content)


def complete(entry: Entry, copied: Mapping[str, int]) -> bool:
    """Whether every file of the entry was copied at its size."""
    return copied == entry.files


@contextlib.contextmanager
def _locked(path: Path, how: int, *, create: bool = False) -> Iterator[bool]:
    """Holds a lock on the file; False if it is not there, not ours to lock, or went away meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, how)
            held = os.path.samestat(os.fstat(descriptor), path.stat())
        except OSError:
            held = False
        yield held
    finally:
        os.close(descriptor)


def _read(path: Path) -> Entry | None:
    try:
        document = json.loads((path / "entry.json").read_text(encoding="utf-8"))
        if document["format"] != FORMAT or not (path / "data").is_dir():
            return None
        return Entry(
            key=path.name,
            path=path,
            name=str(document["name"]),
            size_bytes=sum(document["files"].values()),
            rows=int(document["rows"]),
            created_at=float(document["created_at"]),
            used_at=(path / "entry.json").stat().st_mtime,
            notes=document["notes"],
            files=document["files"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _sync(directory: Path) -> None:
    """The directory's whole file system to the disk: for thousands of files far quicker than one by one."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            os.sync()
    except AttributeError:  # a C library without it
        os.sync()
    finally:
        os.close(descriptor)
