"""A log on stderr: lines that begin with log_line_prefix, continued by lines that begin with a tab."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from rehearse.workload.evidence.entry import Item, LogEntry, Tally, Tear
from rehearse.workload.evidence.moments import moment_ns

_ATTACHED = frozenset({"DETAIL", "HINT", "QUERY", "CONTEXT", "STATEMENT", "LOCATION", "BACKTRACE"})


@dataclass(slots=True)
class _Draft:
    """An entry whose lines are still coming."""

    fields: dict[str, str | None]
    line: int
    part: str = "message"
    texts: dict[str, list[str]] = field(default_factory=dict)
    parts: int = 1

    @property
    def session(self) -> str:
        return self.fields.get("session") or self.fields.get("pid") or ""

    def take(self, part: str, text: str) -> None:
        self.part = part
        self.texts[part] = [text]

    def entry(self, file: str) -> LogEntry | None:
        """The entry; None where its time is none."""
        fields = self.fields
        try:
            epoch = fields.get("epoch")
            at_ns = round(float(epoch) * 1e9) if epoch else moment_ns(fields.get("time") or "")
        except ValueError:
            return None
        number = fields.get("number")
        return LogEntry(
            at_ns,
            self.session,
            fields["level"] or "",
            "\n".join(self.texts["message"]),
            "\n".join(self.texts.get("DETAIL", ())),
            fields.get("database") or "",
            fields.get("user") or "",
            fields.get("application") or "",
            int(number) if number else None,
            self.parts,
            file,
            self.line,
        )


def entries(
    pattern: re.Pattern[str], file: str, lines: Iterator[tuple[int, str | None]], tally: Tally
) -> Iterator[Item]:
    """The entries in `lines`, whose prefix `pattern` matches."""
    draft: _Draft | None = None
    skipping = False  # the lines that continue one which could not be read
    for number, text in lines:
        if text is not None and text.startswith("\t"):
            if draft is not None:
                draft.texts[draft.part].append(text[1:])
            elif not skipping:
                tally.refuse(file, number, "continues an entry that is not there")
                yield Tear()
                skipping = True
            continue
        match = pattern.match(text) if text is not None else None
        if match is not None and match["level"] in _ATTACHED:
            if draft is not None and draft.session == _Draft(match.groupdict(), number).session:
                draft.take(match["level"], match["message"])
                draft.parts += 1
                continue
            match = None
        if match is None and text == "" and draft is not None:
            continue
        # an entry that a broken line follows may itself be cut short: it can no longer be trusted
        yield from _finished(draft, file, tally, whole=match is not None)
        draft, skipping = None, False
        if match is None:
            if text is not None:
                tally.refuse(file, number, "does not begin with log_line_prefix and a level")
            yield Tear()
            skipping = True
            continue
        draft = _Draft(match.groupdict(), number)
        draft.take("message", match["message"])
    yield from _finished(draft, file, tally, whole=True)


def _finished(draft: _Draft | None, file: str, tally: Tally, *, whole: bool) -> Iterator[Item]:
    if draft is None:
        return
    entry = draft.entry(file)
    if entry is None or (not whole and len(draft.texts[draft.part]) > 1):
        tally.refuse(file, draft.line, "cut short" if entry else "has no readable time")
        yield Tear(draft.session or None)
        return
    yield entry
