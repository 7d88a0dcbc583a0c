"""Transactions of the same shape, counted: what a mix is distilled from."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from rehearse.engines.postgres.command import Control, command_of, control_of
from rehearse.workload.evidence.entry import Tally
from rehearse.workload.evidence.logged import Ending, LoggedStatement, LoggedTransaction, pieces_of
from rehearse.workload.evidence.shape import Shape, UnscriptableError, shape_of
from rehearse.workload.evidence.system import system_reason
from rehearse.workload.evidence.values import Seen

_MOST_GROUPS = 5_000
_SCRIPTABLE = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES", "TABLE", "LOCK", "CALL"})
_KEPT_INSIDE = frozenset({"SET"})  # SET LOCAL and SET TRANSACTION belong to their transaction, alone nothing
_THINK_NS = 1_000_000

ROLLED_BACK = "transactions that were rolled back"


@dataclass(frozen=True, slots=True)
class Step:
    """One statement of a group: `first` is the number of its first slot within the group."""

    shape: Shape
    command: str
    control: Control | None
    first: int


@dataclass(slots=True)
class Group:
    """All transactions of one shape. `partition` numbers the slots: those that had the same value every time
    have the same number. `think_ns` sums the pauses of the client inside of the transactions.
    """

    steps: tuple[Step, ...]
    seen: list[Seen]
    partition: list[int]
    count: int = 0
    think_ns: int = 0
    implicit: bool = False  # several statements in one message, and no BEGIN
    starts_ns: array[int] = field(default_factory=lambda: array("q"))

    def take(self, values: list[str | None], known: list[bool], start_ns: int, think_ns: int) -> None:
        """One more of them."""
        self.count += 1
        self.starts_ns.append(start_ns)
        self.think_ns += think_ns
        ids: dict[tuple[int, str | None], int] = {}
        for place, value in enumerate(values):
            if known[place]:
                self.seen[place].take(value)
                self.partition[place] = ids.setdefault((self.partition[place], value), place)


@dataclass(slots=True)
class Mix:
    """What a log has been boiled down to."""

    groups: dict[tuple[str, ...], Group] = field(default_factory=dict)
    transactions: int = 0
    first_ns: int = 2**63
    last_ns: int = 0

    @property
    def seconds(self) -> float:
        """From the first statement's beginning to the last one's end."""
        return max(0.0, (self.last_ns - self.first_ns) / 1e9)


def distil(transactions: Iterable[LoggedTransaction], tally: Tally, own: frozenset[str] = frozenset()) -> Mix:
    """Group `transactions` by shape. What cannot stand in a script, or is about the server alone, is
    left out, and counted by its reason. `own` are the names of the application's tables, where known.
    """
    mix = Mix()
    for transaction in transactions:
        mix.first_ns = min(mix.first_ns, transaction.statements[0].at_ns)
        mix.last_ns = max(mix.last_ns, transaction.statements[-1].ended_ns)
        if transaction.ending is Ending.ROLLED_BACK:
            tally.left_out[ROLLED_BACK] += 1
            continue
        draft = _Draft(own)
        try:
            draft.read(transaction)
        except UnscriptableError as error:
            tally.left_out[f"transactions with {error}"] += 1
            continue
        if not draft.useful:
            tally.left_out.update(draft.dropped)
            continue
        tally.left_out.update(draft.dropped)
        _add(mix, draft, transaction, tally)
    return mix


def _add(mix: Mix, draft: _Draft, transaction: LoggedTransaction, tally: Tally) -> None:
    key = draft.key
    group = mix.groups.get(key)
    if group is None:
        if len(mix.groups) >= _MOST_GROUPS:
            tally.left_out[f"transactions of further shapes, after the first {_MOST_GROUPS}"] += 1
            return
        # values that nobody logged are alike where they are one parameter
        group = Group(
            draft.steps(), [Seen() for _ in draft.values], draft.partition(), implicit=draft.implicit
        )
        mix.groups[key] = group
    mix.transactions += 1
    start_ns = transaction.statements[0].at_ns
    group.take(draft.values, draft.known, start_ns, _think_ns(transaction))


def _think_ns(transaction: LoggedTransaction) -> int:
    """The time between an answer and the next statement; what is below the log's resolution is none."""
    statements = transaction.statements
    gaps = (after.at_ns - before.ended_ns for before, after in pairwise(statements))
    return sum(gap for gap in gaps if gap > _THINK_NS)


class _Draft:
    """A transaction being read."""

    def __init__(self, own: frozenset[str]) -> None:
        self._own = own
        self._shapes: list[tuple[Shape, str, Control | None]] = []
        self.values: list[str | None] = []
        self.known: list[bool] = []
        self.dropped: Counter[str] = Counter()
        self.implicit = False

    @property
    def useful(self) -> bool:
        return any(control is None and command not in _KEPT_INSIDE for _, command, control in self._shapes)

    @property
    def key(self) -> tuple[str, ...]:
        texts = tuple(shape.text for shape, _, _ in self._shapes)
        return ("", *texts) if self.implicit else texts

    def read(self, transaction: LoggedTransaction) -> None:
        """Raises UnscriptableError."""
        alone = len(transaction.statements) == 1
        for statement in transaction.statements:
            self._message(statement, alone=alone)
        controls = {control for _, _, control in self._shapes}
        self.implicit = len(self._shapes) > 1 and Control.BEGIN not in controls

    def _message(self, statement: LoggedStatement, *, alone: bool) -> None:
        for shape, values, command, control in _pieces(statement):
            if control is None and command not in _SCRIPTABLE and (alone or command not in _KEPT_INSIDE):
                if command in {"EXECUTE", "COPY", "DECLARE", "FETCH"} and not alone:
                    raise UnscriptableError(f"{command} in them, which a script cannot do")
                self.dropped[f"{command or 'empty'} statements"] += 1
                continue
            if control is None and (reason := _about_the_server(shape, command, self._own)):
                self.dropped[reason] += 1
                continue
            self._shapes.append((shape, command, control))
            self.values += values
            logged = statement.parameters is not None and statement.whole
            self.known += [logged or not slot.parameter for slot in shape.slots]

    def steps(self) -> tuple[Step, ...]:
        found: list[Step] = []
        first = 0
        for shape, command, control in self._shapes:
            found.append(Step(shape, command, control, first))
            first += len(shape.slots)
        return tuple(found)

    def partition(self) -> list[int]:
        """To begin with all that was logged may be one; of what was not, each parameter by itself."""
        numbers: list[int] = []
        for step in self.steps():
            for offset, slot in enumerate(step.shape.slots):
                place = step.first + offset
                alike = next(
                    (other for other in range(offset) if step.shape.slots[other].parameter == slot.parameter),
                    offset,
                )
                numbers.append(0 if self.known[place] else -1 - step.first - alike)
        return numbers


def _about_the_server(shape: Shape, command: str, own: frozenset[str]) -> str:
    """Why a statement is left out that a script could send; empty where it is not."""
    if command in _KEPT_INSIDE:
        # a text would be replaced, and be no value of any setting
        texts = any(not slot.number for slot in shape.slots)
        return f"{command} statements" if texts else ""
    system = system_reason(shape, own)
    return f"statements {system}" if system else ""


Piece = tuple[Shape, list[str | None], str, Control | None]


def _pieces(statement: LoggedStatement) -> Iterable[Piece]:
    if statement.parameters is None:
        return _shaped(statement.text, None)
    return (
        (shape, _values(statement, shape, literals), command, control)
        for shape, literals, command, control in _prepared(statement.text)
    )


def _values(statement: LoggedStatement, shape: Shape, literals: list[str | None]) -> list[str | None]:
    return [
        _value(statement, slot.parameter, literal)
        for slot, literal in zip(shape.slots, literals, strict=True)
    ]


def _value(statement: LoggedStatement, parameter: int, literal: str | None) -> str | None:
    parameters = statement.parameters or ()
    if not parameter:
        return literal
    return parameters[parameter - 1] if parameter <= len(parameters) else None


@lru_cache(maxsize=4096)
def _prepared(text: str) -> list[Piece]:
    return _shaped(text, ())


def _shaped(text: str, parameters: tuple[str | None, ...] | None) -> list[Piece]:
    found: list[Piece] = []
    for piece in pieces_of(text) or []:
        shape, values = shape_of(piece, parameters)
        found.append((shape, values, command_of(piece), control_of(piece)))
    return found
