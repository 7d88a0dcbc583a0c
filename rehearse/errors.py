"""Every error that the tool raises on purpose.

An error names the thing that is wrong and, where it can, the mend; the command line prints it as one
line and ends with its exit code. Anything else that escapes is a defect of ours.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process answers, so that a pipeline can branch on it."""

    GO = 0
    NO_GO = 1
    USAGE = 2
    ENVIRONMENT = 3
    INCONCLUSIVE = 4
    INTERRUPTED = 130


class RehearseError(Exception):
    """Something the user can understand and mend.

    `what` says what is wrong and names the thing; `mend` says what to do about it (may be empty).
    """

    exit_code: ExitCode = ExitCode.ENVIRONMENT

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what, mend)
        self.what = what
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.what}; {self.mend}" if self.mend else self.what


class InputError(RehearseError, ValueError):
    """What the caller gave cannot be used: a flag, a scenario, a file, SQL in it."""

    exit_code = ExitCode.USAGE


class ScenarioError(InputError):
    """A scenario file or an equivalent flag is wrong."""


class SqlFileError(InputError):
    """A SQL or script file cannot be taken apart or executed; names file and line."""

    def __init__(self, file: str, line: int, what: str, mend: str = "") -> None:
        super().__init__(f"{file}:{line}: {what}", mend)
        self.file = file
        self.line = line


class DatasetError(InputError):
    """Rows that satisfy the schema cannot be generated; names table, column and constraint."""


class EnvironmentFailure(RehearseError):  # noqa: N818 - "EnvironmentError" is a builtin
    """The environment failed: no engine, a full disk, a server that died."""


class ProvisionError(EnvironmentFailure):
    """A database could not be provided."""


class NotDisposableError(InputError):
    """The database named may hold something that nobody said can be destroyed."""


class ServerLostError(EnvironmentFailure):
    """The database server went away, and the migration is not known to be the reason."""


class RecordError(InputError):
    """A run folder cannot be read: missing, cut short, or of another schema version."""


class InterruptedRunError(RehearseError):
    """The caller stopped the run (Ctrl-C or SIGTERM)."""

    exit_code = ExitCode.INTERRUPTED
