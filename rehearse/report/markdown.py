"""The report as Markdown for a pull request: short enough for a comment, and inert, whatever is in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rehearse.model.record import RunRecord
from rehearse.model.verdict import Finding, GateStatus, Severity, Verdict
from rehearse.report import digest, work
from rehearse.report import format as fmt
from rehearse.report.evidence import said_once
from rehearse.report.trials import trial_views

LONGEST = 60_000
_SQL_SHOWN = 1_500
_BADGES = {Verdict.GO: "🟢", Verdict.NO_GO: "🛑", Verdict.INCONCLUSIVE: "🔶"}
_STATUS = {
    GateStatus.PASSED: "✅ passed",
    GateStatus.FAILED: "❌ failed",
    GateStatus.UNMEASURED: "❔ not measured",
}
_SIGNS = {
    Severity.FAILURE: "❌",
    Severity.UNMEASURED: "❔",
    Severity.ACCEPTED: "🤝",
    Severity.WARNING: "⚠️",
    Severity.NOTE: "ℹ️",
}
_MARKUP = re.compile(r"([\\`*_\[\]|~$#])")
_OPENING = re.compile(r"^(\d*)([-+>=.)])")  # what begins a list, a quotation or a heading
_BLANK = "\u200b"  # breaks what a forge would make a link of


def text(value: str) -> str:
    """`value` as one line that Markdown, HTML and a forge's mentions leave alone, in a table too."""
    line = fmt.one_line(value).replace("&", "&amp;").replace("<", "&lt;")
    line = _OPENING.sub(r"\1\\\2", _MARKUP.sub(r"\\\1", line))
    return line.replace("@", f"@{_BLANK}").replace("://", f":{_BLANK}//").replace("\\#", f"\\#{_BLANK}")


def code(value: str) -> str:
    """`value` as inline code, in a table too. What would end the code or the cell is replaced."""
    line = fmt.one_line(value).replace("`", "ˋ").replace("|", "\\|")
    return f"`{line or ' '}`"


def block(value: str, language: str = "sql") -> list[str]:
    """`value` in a fence longer than any in it."""
    shown = fmt.clean(value)
    if len(shown) > _SQL_SHOWN:
        shown = shown[:_SQL_SHOWN] + f"\n… ({fmt.count(len(shown) - _SQL_SHOWN)} characters more)"
    longest = max((len(run) for run in re.findall(r"`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}{language}", shown, fence]


def render_markdown(record: RunRecord) -> str:
    """The comment: verdict, key numbers, findings (failures first), gates, and what was run."""
    headline = digest.headline(record)
    head = [
        f"## {_BADGES[headline.verdict]} {headline.word}: {text(record.scenario.name)}",
        "",
        text(headline.why),
        *_numbers(record),
    ]
    tail = [*_gates(record), *_trials(record), *_statements(record), *_footer(record)]
    room = LONGEST - len("\n".join([*head, *tail])) - 200
    return "\n".join([*head, *_findings(record, room), *tail]) + "\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(header)} |", "|" + " --- |" * len(header)]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def _numbers(record: RunRecord) -> list[str]:
    numbers = digest.key_numbers(record)
    if not numbers:
        return []
    rows = [
        (number.label, f"**{number.value}**" if number.bad else number.value, text(number.detail))
        for number in numbers
    ]
    return ["", *_table(("", "measured", ""), rows)]


def _findings(record: RunRecord, room: int) -> list[str]:
    """The findings that fit into `room` characters, and how many did not."""
    findings = digest.of_severity(record, *Severity)
    lines: list[str] = []
    quoted: set[int] = set()
    for place, (finding, evidence) in enumerate(said_once(findings)):
        more = _finding(record, finding, evidence, quoted)
        room -= len("\n".join(more)) + 1
        if room < 0:
            return [*lines, "", f"{fmt.plural(len(findings) - place, 'finding')} more in the full report."]
        lines += more
    return lines


def _finding(record: RunRecord, finding: Finding, evidence: Sequence[str], quoted: set[int]) -> list[str]:
    """A finding with this of its `evidence`; the SQL of its statement unless it was `quoted` before."""
    statement = digest.blamed(record, finding)
    sign, severity = _SIGNS[finding.severity], finding.severity.value
    lines = ["", f"{sign} **{severity}** {code(finding.rule)} {text(finding.message)}"]
    body: list[str] = []
    if evidence:
        body += [*(f"- {text(line)}" for line in evidence), ""]
    if statement:
        where = f"Statement {statement.index + 1} in {code(f'{statement.file}:{statement.line}')}"
        if statement.index in quoted:
            body += [f"{where}, see above.", ""]
        else:
            quoted.add(statement.index)
            body += [f"{where}:", "", *block(statement.text), ""]
    if finding.advice:
        body += ["Instead:", "", *block(finding.advice), ""]
    if not body:
        return lines
    opened = " open" if finding.severity is Severity.FAILURE else ""
    return [
        *lines,
        "",
        f"<details{opened}><summary>Evidence and the safe way</summary>",
        "",
        *body,
        "</details>",
    ]


def _gates(record: RunRecord) -> list[str]:
    if record.judgement is None or not record.judgement.gates:
        return []
    rows = []
    for gate in record.judgement.gates:
        observed, limit = fmt.apart(gate.observed, gate.limit)
        shown = limit if gate.limit is not None else "not known"
        status = "🤝 accepted" if gate.accepted else _STATUS[gate.status]
        rows.append((code(gate.gate), status, observed, shown, text(digest.gate_note(gate))))
    return ["", "### Gates", "", *_table(("gate", "status", "observed", "limit", "note"), rows)]


def _trials(record: RunRecord) -> list[str]:
    rows = [
        (view.kind, view.result.value, "<br>".join(text(line) for line in view.lines))
        for view in trial_views(record)
    ]
    return ["", "### Beside the traffic", "", *_table(("trial", "result", "found"), rows)] if rows else []


def _statements(record: RunRecord) -> list[str]:
    statements = digest.statements(record)
    if not statements:
        return []
    rows = [
        (
            str(statement.index + 1),
            code(fmt.one_line(statement.text, 90)),
            fmt.nanoseconds(statement.ended_ns - statement.started_ns),
            work.work_of(statement).word,
            text(
                "; ".join(work.lock_lines(statement.effects.locks)[:2])
                if statement.effects
                else fmt.NOT_MEASURED
            ),
        )
        for statement in statements[:40]
    ]
    lines = ["", "<details><summary>Statements of the migration</summary>", ""]
    lines += _table(("#", "statement", "took", "did", "locks"), rows)
    if len(statements) > len(rows):
        lines += ["", f"{len(statements) - len(rows)} more in the full report."]
    return [*lines, "", "</details>"]


def _footer(record: RunRecord) -> list[str]:
    data, env = record.dataset, record.environment
    parts = [f"Run {code(record.run_id)}"]
    parts += [f"{fmt.rows(data.rows)} rehearsed"] if data else []
    parts += [f"{text(record.scenario.database.engine.value)} {text(env.server_version)}"] if env else []
    parts.append("lock waits are lower bounds")
    return ["", f"<sub>{' · '.join(parts)}</sub>"]
