"""The scripts of a workload: `file@weight`, and the built-in ones that pgbench users know."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from rehearse.model.workload import ScriptSource
from rehearse.scenario.nearest import nearest
from rehearse.scenario.values import RefusedError

_TPCB_DRAWS = r"""\set aid random(1, 100000 * :scale)
\set bid random(1, 1 * :scale)
\set tid random(1, 10 * :scale)
\set delta random(-5000, 5000)
"""
_ACCOUNT = "UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;\n"
_BALANCE = "SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n"
_HISTORY = (
    "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime)"
    " VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);\n"
)

BUILT_IN: dict[str, str] = {
    "tpcb-like": "".join(
        (
            _TPCB_DRAWS,
            "BEGIN;\n",
            _ACCOUNT,
            _BALANCE,
            "UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;\n",
            "UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;\n",
            _HISTORY,
            "END;\n",
        )
    ),
    "simple-update": "".join((_TPCB_DRAWS, "BEGIN;\n", _ACCOUNT, _BALANCE, _HISTORY, "END;\n")),
    "select-only": "\\set aid random(1, 100000 * :scale)\n" + _BALANCE,
}
"""pgbench's built-in transactions, on the tables that `pgbench --initialize` makes."""


class ChoiceError(RefusedError):
    """A choice of the mix, by its index, cannot be used."""

    def __init__(self, index: int, refusal: RefusedError) -> None:
        super().__init__(refusal.what, refusal.mend)
        self.index = index


@dataclass(frozen=True, slots=True)
class ScriptChoice:
    """A script as named in the mix: a file, or a built-in, and its weight."""

    file: str
    weight: int


def parse_choice(text: str) -> ScriptChoice:
    """`file@weight`; the weight is 1 if not given. Raises RefusedError.

    What follows the last `@` is the weight, unless it has a `/` in it and so belongs to a folder's name.
    """
    file, at, weight = text.rpartition("@")
    if not at or "/" in weight:
        return ScriptChoice(text, 1)
    if not file:
        raise RefusedError(f"names no file in `{text}`", "write FILE@WEIGHT")
    digits = weight.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise RefusedError(f"has the weight `{weight}`, which is not a whole number", "write FILE@WEIGHT")
    if not 0 <= int(weight) <= 1_000_000:
        raise RefusedError(f"has the weight {weight}, which is not between 0 and 1000000")
    return ScriptChoice(file, int(weight))


def read_scripts(choices: Sequence[str], read: Callable[[int, str], str]) -> tuple[ScriptSource, ...]:
    """The scripts of a mix, those of weight 0 left out. `read(i, file)` gives the text of choice i's file.

    Raises ChoiceError for a choice that cannot be used.
    """
    scripts: dict[str, ScriptSource] = {}
    for index, text in enumerate(choices):
        try:
            choice = parse_choice(text)
            _refuse_near_built_in(choice.file)
        except RefusedError as refusal:
            raise ChoiceError(index, refusal) from None
        name = script_name(choice.file, scripts)
        script = BUILT_IN.get(choice.file) or read(index, choice.file)
        scripts[name] = ScriptSource(name, script, choice.weight, choice.file)
    return tuple(script for script in scripts.values() if script.weight > 0)


def _refuse_near_built_in(file: str) -> None:
    similar = nearest(file, BUILT_IN)
    if similar is not None and file not in BUILT_IN and PurePath(file).suffix == "":
        raise RefusedError(f"names `{file}`, which is no built-in script", f"did you mean `{similar}`?")


def script_name(file: str, taken: Container[str]) -> str:
    """A name for the script in `file`: its stem, numbered if another script has it."""
    stem = file if file in BUILT_IN else PurePath(file).stem
    plain = "".join("_" if char in "{},=\"'" or char.isspace() else char for char in stem) or "script"
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}_{number}", number + 1
    return name
