"""The record of a run under way: each change of it is on disk before the run goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rehearse.model.record import RunRecord, Stage
from rehearse.record.folder import RunFolder


class Journal:
    """Holds the newest `RunRecord` and writes it out at every step, so that a run that dies leaves what it
    had measured and says where it stopped.
    """

    def __init__(self, folder: RunFolder, record: RunRecord) -> None:
        self.folder = folder
        self.record = record
        folder.write_record(record)

    def enter(self, stage: Stage) -> None:
        """The run comes to `stage`."""
        self.update(stage=stage)

    def update(self, **changes: Any) -> None:
        """Replace fields of the record and write it."""
        self.record = replace(self.record, **changes)
        self.folder.write_record(self.record)

    def fail(self, message: str) -> None:
        """Note what ended the run early. A disk that is full must not hide that."""
        self.record = replace(self.record, error=message)
        self.folder.write_record(self.record)
