"""A run's folder on disk. Every file appears whole or not at all: write, fsync, rename."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from rehearse.errors import EnvironmentFailure, InputError, RecordError
from rehearse.model.record import SCHEMA_VERSION, RunRecord, TrialKind
from rehearse.model.workload import SampleColumns
from rehearse.record.samples import read_columns, write_columns

RECORD_FILE = "run.json"
SAMPLES_FILE = "samples.parquet"

_RECORD: TypeAdapter[RunRecord] = TypeAdapter(RunRecord)


def utc_now() -> datetime:
    """The wall clock, for names and headings; durations come from the monotonic clock."""
    return datetime.now(UTC)


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60] or "run"


class RunFolder:
    """`<root>/<UTC time>-<scenario>/`, made new for each run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, root: Path, scenario: str, started: datetime) -> RunFolder:
        """A new folder under `root`; two runs in one second get different ones."""
        stem = f"{started:%Y%m%dT%H%M%SZ}-{_safe(scenario)}"
        try:
            root.mkdir(parents=True, exist_ok=True)
            for attempt in range(1, 1000):
                path = root / (stem if attempt == 1 else f"{stem}-{attempt}")
                try:
                    path.mkdir()
                except FileExistsError:
                    if not path.is_dir():
                        raise
                    continue
                return cls(path.resolve())
        except (FileExistsError, NotADirectoryError) as error:
            raise InputError(
                f"run folders cannot be made in {root}: a file is in the way", "name a folder with --out"
            ) from error
        except OSError as error:
            raise EnvironmentFailure(
                f"cannot make a run folder in {root}: {error.strerror}", "name another place with --out"
            ) from error
        raise EnvironmentFailure(f"{root} already holds a thousand runs of this second")

    @property
    def spool(self) -> Path:
        """Where pieces of samples are put while the traffic runs."""
        path = self.path / "spool"
        path.mkdir(exist_ok=True)
        return path

    def write_record(self, record: RunRecord) -> None:
        """`run.json`, replaced as a whole."""
        self._replace(RECORD_FILE, lambda path: path.write_bytes(_RECORD.dump_json(record, indent=1)))

    def write_text(self, name: str, text: str) -> Path:
        """A rendered report."""
        self._replace(name, lambda path: path.write_text(text, encoding="utf-8"))
        return self.path / name

    def write_samples(self, samples: SampleColumns, kind: TrialKind = TrialKind.TRAFFIC) -> str:
        """The samples of the traffic in that trial as Parquet; returns the file's name."""
        name = SAMPLES_FILE if kind is TrialKind.TRAFFIC else f"samples-{kind.value}.parquet"
        self._replace(name, lambda path: write_columns(samples, path))
        return name

    def _replace(self, name: str, write: Callable[[Path], object]) -> None:
        temporary = self.path / f".{name}.part"
        try:
            write(temporary)
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.replace(self.path / name)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            mend = "free some space, or name another place with --out" if error.errno == errno.ENOSPC else ""
            raise EnvironmentFailure(
                f"cannot write {self.path / name}: {error.strerror or error}", mend
            ) from error

    def read_record(self) -> RunRecord:
        """The record in this folder."""
        file = self.path / RECORD_FILE
        try:
            raw = file.read_bytes()
        except OSError as error:
            raise RecordError(
                f"{file} cannot be read: {error.strerror}", "name a folder that `rehearse run` made"
            ) from error
        try:
            record = _RECORD.validate_json(raw)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "the document"
            raise RecordError(f"{file} is not a record of this version: {place}: {first['msg']}") from error
        if record.schema_version != SCHEMA_VERSION:
            raise RecordError(
                f"{file} has schema version {record.schema_version}, this tool reads {SCHEMA_VERSION}"
            )
        return record

    def read_samples(self, record: RunRecord, kind: TrialKind = TrialKind.TRAFFIC) -> SampleColumns | None:
        """The samples that the record names for that trial, None where it names none."""
        trial = record.trial(kind)
        if trial is None or trial.samples_file is None:
            return None
        file = self.path / Path(trial.samples_file).name
        try:
            return read_columns(file)
        except (OSError, ValueError) as error:
            raise RecordError(f"{file} cannot be read: {error}") from error
