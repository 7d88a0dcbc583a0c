"""Blocks and procedures that commit as they go: what is known of them once they are through.

They are seen from another session while they run, which may miss a lock that is held for a moment. What they
did to tables is counted over all of their transactions; strong locks are told by what they changed in the
catalog as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rehearse.engines.postgres.catalog import Catalog
from rehearse.engines.postgres.lexer import dollar_body, tokens, words
from rehearse.engines.postgres.probe import Counters
from rehearse.engines.postgres.split import SqlStatement
from rehearse.engines.postgres.totals import Marks, Totals, locks_behind
from rehearse.migrate.documented import documented_locks, locked_by_text
from rehearse.migrate.ledger import Evidence, Ledger, telling_modes
from rehearse.migrate.rowlocks import called_names, has_locking_clause
from rehearse.migrate.witness import Seen, Span, TableLock, Witness
from rehearse.model.locks import LockMode
from rehearse.model.migration import Effects, LockEvidence, TableTotals

_REPEATING = frozenset({"LOOP", "CALL", "EXECUTE"})
_ROWS = frozenset({LockMode.ROW_SHARE, LockMode.ROW_EXCLUSIVE})


@dataclass(frozen=True, slots=True)
class Before:
    """What has to be known before such a statement begins. `counters` are everybody's, None where the
    session's own can be asked for.
    """

    marks: Mapping[int, Marks]
    counters: Mapping[int, Counters] | None = None


def called(source: SqlStatement) -> str:
    """The name of the procedure that a CALL names, without its schema."""
    found = [token for token in tokens(source.text) if token.kind.significant]
    end = next((place for place, token in enumerate(found) if token.text == "("), 0)
    return found[end - 1].text.strip('"') if end > 1 else ""


def since(before: Mapping[int, Counters] | None, after: Mapping[int, Counters] | None) -> Totals:
    """What everybody did from `before` to `after`: no less than the statement did."""
    if before is None or after is None:
        return Totals(counted=False)
    grown = {oid: counters.since(before.get(oid, Counters())) for oid, counters in after.items()}
    return Totals({oid: counters for oid, counters in grown.items() if counters != Counters()})


def block_effects(
    source: SqlStatement,
    seen: Seen,
    ledger: Ledger,
    witness: Witness,
    before: Before,
    after: Catalog,
    totals: Totals,
) -> Effects:
    """The effects of `source`, a DO or CALL that is through; `after` is the catalog now."""
    text = source.text if source.command == "DO" else witness.source(called(source))
    documented = documented_locks(source, ledger.catalog(), after, ())
    documented |= locks_behind(before.marks, witness.marks()) | locked_by_text(text, after)
    spans = seen.spans | dict.fromkeys(documented - seen.locks, seen.longest_blink)
    evidence = evidence_of(seen.locks, documented, spans)
    effects = ledger.recaptured(source.command, after, evidence, spans, totals)
    return replace(
        effects,
        longest_transaction_ns=seen.longest_transaction_ns,
        totals=_with_row_locks(f"{text};{_behind(text, effects, witness)}", effects),
        loops=_may_loop(text),
    )


def _may_loop(text: str) -> bool:
    """Whether `text` has a loop, or may have one somewhere else."""
    try:
        bodies = [dollar_body(token) for token in tokens(text)]
        found = {word for body in (text, *filter(None, bodies)) for word in words(body)}
    except ValueError:
        return True
    return not text or bool(found & _REPEATING)


def _behind(text: str, effects: Effects, witness: Witness) -> str:
    """The bodies of what `text` calls, and of what triggers on the tables call that it changes."""
    return witness.bodies(called_names(text), {total.table for total in effects.totals if total.changed})


def _with_row_locks(text: str, effects: Effects) -> tuple[TableTotals, ...]:
    """Marks the tables whose rows a FOR UPDATE in `text` can have locked."""
    if not has_locking_clause(text):
        return effects.totals
    of_rows = {lock.relation for lock in effects.locks if lock.mode in _ROWS}
    return tuple(
        replace(totals, locks_rows=totals.table in of_rows or not of_rows) for totals in effects.totals
    )


def evidence_of(
    seen: set[TableLock], documented: frozenset[TableLock], spans: Mapping[TableLock, Span]
) -> list[Evidence]:
    """Both together by relation, each mode once, those that say nothing new left out: a weaker mode does
    where it was held for longer than the stronger one.
    """
    found: list[Evidence] = []
    for oid in sorted({oid for oid, _ in seen | documented}):
        modes = {mode for other, mode in seen | documented if other == oid}
        lengths = {mode: _length_ns(spans.get((oid, mode))) for mode in modes}
        for mode in sorted(modes, key=lambda mode: -mode.strength):
            stronger = {other for other in modes if lengths[other] >= lengths[mode]}
            if mode in telling_modes(stronger):
                sampled = (oid, mode) in seen
                found.append((oid, mode, LockEvidence.SAMPLED if sampled else LockEvidence.DOCUMENTED))
    return found


def _length_ns(span: Span | None) -> int:
    return span[1] - span[0] if span else 0
