"""A migration tool as a process: what it is told of the world, and what it says."""

from __future__ import annotations

import os
import re
import secrets
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from string import Template
from urllib.parse import quote

from rehearse.errors import ScenarioError
from rehearse.migrate.telling import excerpt, plain
from rehearse.model.migration import SqlFile, ToolSpec

KEEPER = Path(__file__).with_name("keeper.py")
_LINES_KEPT = 80  # an error that is dumped as an object takes some fifty
LONGEST_LINE = 400
_END_S = 20.0
_TICK_S = 0.05
# where tools look for a database; the caller's own might be production
_ADDRESSES = re.compile(r"PG|POSTGRES|DB_|DATABASE_|FLYWAY_|LIQUIBASE_|MYSQL_|.*DATABASE_UR[IL]$|.*_DSN$")
_ADDRESS_VALUE = re.compile(r"\s*(?:jdbc:)?(?:postgres(?:ql)?|mysql|mariadb)(?:\+\w+)?:", re.IGNORECASE)
_URL = re.compile(r"\b(?:postgres(?:ql)?|mysql|mariadb)(?:\+\w+)?://", re.IGNORECASE)
_OF_THE_REHEARSAL = re.compile(r"\$\{?(?:PGHOST|DATABASE_URL)\b")
_SECRET_NAME = re.compile(r"PASS|PWD|SECRET|TOKEN|KEY|CREDENTIAL|URL|URI|DSN", re.IGNORECASE)
_SHORTEST_SECRET = 6
_URL_PASSWORD = re.compile(r"(\w[\w+.-]*://[^\s:/@]*:)[^\s@/]+@")
_KEYWORD_PASSWORD = re.compile(r"(\bpass(?:word|wd)?\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s,;]+)", re.IGNORECASE)
# what databases and their drivers quote rows in
_QUOTES_ROWS = re.compile(
    r"\s*(?:(?:DETAIL|CONTEXT|HINT|LINE \d+|\[parameters):?|(?:where|parameters|bind(?:ings)?|values):)",
    re.IGNORECASE,
)
_PARAMETERS = re.compile(r"(-- PARAMETERS: ).*", re.IGNORECASE)
_LOOK = frozenset({"PWD", "OLDPWD"})  # paths


@dataclass(frozen=True, slots=True)
class Address:
    """Where the tool finds the rehearsal's database."""

    host: str
    port: int
    user: str
    password: str
    dbname: str
    application_name: str

    @property
    def variables(self) -> dict[str, str]:
        """As libpq and most tools look for it."""
        user, password = quote(self.user, safe=""), quote(self.password, safe="")
        url = f"postgresql://{user}:{password}@{self.host}:{self.port}/{quote(self.dbname, safe='')}"
        return {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.dbname,
            "PGAPPNAME": self.application_name,
            "PGSSLMODE": "disable",
            "DATABASE_URL": url,
        }


def environment(inherited: Mapping[str, str], spec: ToolSpec, address: Address) -> dict[str, str]:
    """What the tool's environment is: `inherited` without any database's address, that of the rehearsal, and
    what the scenario adds, in which `$PGPORT` and the like stand for it.
    """
    kept = {
        name: value
        for name, value in inherited.items()
        if not _ADDRESSES.match(name.upper()) and not _ADDRESS_VALUE.match(value)
    }
    given = {name: Template(value).safe_substitute(address.variables) for name, value in spec.env}
    named = {name: value for name, value in given.items() if not name.startswith("PG")}
    return kept | {"PYTHONUNBUFFERED": "1"} | address.variables | named


class Mask:
    """Takes the secrets of an environment, and what looks like one, out of text."""

    def __init__(self, env: Mapping[str, str]) -> None:
        found = {
            value
            for name, value in env.items()
            if _SECRET_NAME.search(name) and name not in _LOOK and len(value) >= _SHORTEST_SECRET
        }
        found |= {quote(value, safe="") for value in found}
        self._values = sorted(found, key=len, reverse=True)

    def of(self, text: str) -> str:
        """`text` without them."""
        for value in self._values:
            text = text.replace(value, "***")
        text = _URL_PASSWORD.sub(r"\1***@", text)
        return _KEYWORD_PASSWORD.sub(r"\1***", text)


def require_tool(files: Iterable[SqlFile]) -> None:
    """ScenarioError where a command cannot be run: it is not there, or its folder is not."""
    for file in files:
        spec = file.tool
        if spec is None:
            continue
        for name, value in spec.env:
            if name.startswith("PG") or (_ADDRESS_VALUE.match(value) and not _OF_THE_REHEARSAL.search(value)):
                raise ScenarioError(
                    f"`migration.env` gives {name} an address of its own, and a rehearsal has but one",
                    "leave it out, or write ${PGHOST}, ${PGPORT}, ${PGUSER}, ${PGPASSWORD} and ${PGDATABASE}",
                )
        if any(_URL.search(word) for word in spec.argv):
            raise ScenarioError(
                "the migration's command names a database itself, and would change that one",
                "let it take the address from DATABASE_URL or the PG* variables of its environment",
            )
        if not Path(spec.cwd).is_dir():
            raise ScenarioError(f"the migration's command has no folder to run in: {spec.cwd}")
        if _found(spec) is None:
            raise ScenarioError(
                f"the migration's command is not there: {spec.argv[0]}",
                "install it, or name it with its path",
            )


def _found(spec: ToolSpec) -> str | None:
    path = dict(spec.env).get("PATH", os.environ.get("PATH", os.defpath))
    name = spec.argv[0]
    if "/" in name:
        whole = Path(spec.cwd) / name
        return str(whole) if whole.is_file() and os.access(whole, os.X_OK) else None
    return shutil.which(name, path=path)


class Process:
    """The command under its keeper. Leaving the context kills whatever still runs of it."""

    def __init__(self, spec: ToolSpec, env: dict[str, str]) -> None:
        self._mask = Mask(env)
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._rest = b""
        self._mark = f"REHEARSE_TOOL={secrets.token_hex(16)}"
        name, _, value = self._mark.partition("=")
        self._keeper = subprocess.Popen(  # noqa: S603 - to run what the scenario names is what this is for
            [sys.executable, "-I", "-S", str(KEEPER), *spec.argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**env, name: value},
            cwd=spec.cwd,
            start_new_session=True,
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for pipe in (self._keeper.stdout, self._keeper.stderr):
            assert pipe is not None
            pipe.close()

    def wait(self, until: Callable[[], bool]) -> int | None:
        """The exit status, negative for a signal; None where `until` was true before it ended."""
        assert self._keeper.stdout is not None
        output = self._keeper.stdout.fileno()
        poll = select.poll()
        poll.register(output, select.POLLIN)
        while not until():
            ended = self._keeper.poll() is not None
            if poll.poll(_TICK_S * 1000):
                piece = os.read(output, 1 << 16)
                if not piece:
                    return self._status()
                self._heard(piece)
            elif ended:  # killed, or what it has left behind would not hold the pipe
                return self._status()
        return None

    def kill(self) -> None:
        """End it and everything it has started; nothing happens where it has ended."""
        assert self._keeper.stdin is not None
        with suppress(OSError):
            self._keeper.stdin.close()
        try:
            self._keeper.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()
        if self._keeper.returncode != 0:
            _kill_marked(self._mark.encode())

    def output(self) -> tuple[str, ...]:
        """Its last lines, without secrets, and without the lines in which rows are quoted."""
        lines = map(plain, [*self._lines, self._rest.decode("utf-8", "replace")])
        shown = [self._mask.of(_PARAMETERS.sub(r"\1***", line))[:LONGEST_LINE] for line in lines]
        return excerpt([line for line in shown if line.strip() and not _QUOTES_ROWS.match(line)])

    def _heard(self, piece: bytes) -> None:
        *lines, rest = (self._rest + piece).split(b"\n")
        self._lines.extend(line[: 4 * LONGEST_LINE].decode("utf-8", "replace") for line in lines)
        self._rest = rest[: 4 * LONGEST_LINE]

    def _status(self) -> int:
        assert self._keeper.stderr is not None
        words = self._keeper.stderr.read().split()
        self._keeper.wait(_END_S)
        told = words[-2:-1] == [b"exit"]
        return int(words[-1]) if told else self._keeper.returncode or 127


def _kill_marked(mark: bytes) -> None:
    """SIGKILL to every process that has `mark` in its environment, until there is none: what a keeper
    has left behind that was killed itself.
    """
    until = time.monotonic() + _END_S
    while (left := [pid for pid in _pids() if mark in _environment_of(pid)]) and time.monotonic() < until:
        for pid in left:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_TICK_S)


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _environment_of(pid: int) -> list[bytes]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return []
