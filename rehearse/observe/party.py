"""Whose session it is, told by what the session says of itself."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rehearse.engines.postgres.activity import Session
from rehearse.model.migration import MigrationState
from rehearse.model.waits import Party, Role

MIGRATION = "rehearse-migration"
TRAFFIC = "rehearse-traffic"
ADVERSARY = "rehearse-adversary"

_CLIENTS = ("", "client backend", "parallel worker", "walsender")
_LONGEST_CHARACTER = 4  # bytes: the server cuts a long text between characters
_PARAMETER = re.compile(r"\$[0-9]+")
# what stands in a parameter's place where the simple protocol writes values into the text
_LITERAL = r" ?(?:E?'(?:[^']|'')*'|-?[0-9][\w.+-]*|NULL|true|false)"


class ScriptNames:
    """Which script a statement's text belongs to.

    `scripts` maps texts to names; the server cuts what it shows of a text to `limit_bytes`.
    """

    def __init__(self, scripts: Mapping[str, str], limit_bytes: int = 1024) -> None:
        self._scripts = dict(scripts)
        self._cut_from = limit_bytes - _LONGEST_CHARACTER
        self._forms = [
            (re.compile(_LITERAL.join(map(re.escape, _PARAMETER.split(text))), re.DOTALL), name)
            for text, name in scripts.items()
            if _PARAMETER.search(text)
        ]

    def of(self, query: str) -> str | None:
        """The script's name; None for a text of no script, or one that is cut and could be several's."""
        if query in self._scripts:
            return self._scripts[query]
        if len(query.encode()) < self._cut_from:
            return self._written_out(query)
        names = {name for text, name in self._scripts.items() if text.startswith(query)}
        return names.pop() if len(names) == 1 else None

    def _written_out(self, query: str) -> str | None:
        """The same for a text that holds values instead of parameters."""
        names = {name for form, name in self._forms if form.fullmatch(query)}
        return names.pop() if len(names) == 1 else None


def party(session: Session, state: MigrationState, scripts: ScriptNames) -> Party:
    """Who `session` is. `state` is the migration's at that time: its statement is the one being executed,
    which may come after the one in the same transaction that took a lock.
    """
    pid, name, kind = session.pid, session.application_name, session.backend_type
    if name == MIGRATION or (pid and (pid == state.pid or pid in state.pids)):
        return Party(pid, Role.MIGRATION, statement=state.statement)
    if name == TRAFFIC:
        return Party(pid, Role.TRAFFIC, script=scripts.of(session.query))
    if name.startswith(ADVERSARY):
        return Party(pid, Role.ADVERSARY, label=name.removeprefix(ADVERSARY).strip())
    if kind not in _CLIENTS:
        wraparound = "(to prevent wraparound)"
        return Party(pid, Role.SERVER, label=f"{kind} {wraparound}" if wraparound in session.query else kind)
    return Party(pid, Role.OTHER, label=name if pid else "prepared transaction")
