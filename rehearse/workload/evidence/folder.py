"""Scripts written into a folder, and the part of a scenario that uses them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rehearse.errors import InputError
from rehearse.workload.evidence.entry import Tally
from rehearse.workload.evidence.scripting import Draft, Unusable

SNIPPET = "workload.toml"
TRACE = "trace.csv"


@dataclass(frozen=True, slots=True)
class Written:
    """What came of it. `weights` go with `drafts`; `rate` is in transactions a second, None if unknown."""

    drafts: tuple[Draft, ...]
    weights: tuple[int, ...]
    rate: float | None
    unusable: tuple[Unusable, ...]
    tally: Tally
    snippet: str = ""


def select(made: Sequence[Draft | Unusable], rate: float | None, most: int, tally: Tally) -> Written:
    """The `most` frequent scripts with names of their own, most frequent first.

    Where scripts are left out, `rate` is cut by their share. Raises InputError if there is none at all.
    """
    drafts = sorted((one for one in made if isinstance(one, Draft)), key=lambda one: -one.count)
    unusable = [one for one in made if isinstance(one, Unusable)]
    if not drafts:
        reasons = "; ".join(sorted({one.reason for one in unusable})[:3])
        left = "; ".join(f"{count} {reason}" for reason, count in tally.left_out.most_common(3))
        raise InputError(
            f"no script could be made: {reasons or left or 'no statement was found'}",
            "statements are logged with log_min_duration_statement = 0, in English (lc_messages)",
        )
    whole = sum(one.count for one in made)
    unusable += [Unusable(one.name, one.count, "among the rarest: see --most") for one in drafts[most:]]
    kept = _renamed(drafts[:most])
    divisor = math.gcd(*(one.count for one in kept))
    weights = tuple(one.count // divisor for one in kept)
    share = sum(one.count for one in kept) / whole
    return Written(tuple(kept), weights, rate and rate * share, tuple(unusable), tally)


def _renamed(drafts: Sequence[Draft]) -> list[Draft]:
    taken: set[str] = set()
    renamed: list[Draft] = []
    for draft in drafts:
        name, number = draft.name[:80], 2
        while name in taken:
            name, number = f"{draft.name[:80]}_{number}", number + 1
        taken.add(name)
        renamed.append(replace(draft, name=name))
    return renamed


def check_folder(folder: Path) -> None:
    """Raises InputError where scripts would come to stand among files that are there."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already and not empty", "name a new folder with --out")


def write(folder: Path, written: Written) -> str:
    """Write scripts, snippet, and when each transaction began, where that is known; returns the snippet."""
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for draft in written.drafts:
        (folder / f"{draft.name}.sql").write_text(draft.text, encoding="utf-8")
    if any(draft.starts_ns for draft in written.drafts):
        (folder / TRACE).write_text(_trace(written.drafts), encoding="utf-8")
    text = snippet(folder, written)
    (folder / SNIPPET).write_text(text, encoding="utf-8")
    return text


def _trace(drafts: Sequence[Draft]) -> str:
    """Every transaction that has a script: seconds from the first, and its name."""
    entries = sorted((at, draft.name) for draft in drafts for at in draft.starts_ns)
    zero = entries[0][0]
    lines = (f"{(at - zero) / 1e9:.6f},{name}" for at, name in entries)
    return "\n".join(["seconds,script", *lines, ""])


def _quoted(path: Path) -> str:
    text = path.as_posix().replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def snippet(folder: Path, written: Written) -> str:
    """The `[workload]` table of a scenario, with paths as they were given."""
    lines = ["[workload]"]
    if written.rate is not None:
        lines.append(f"rate = {max(written.rate, 0.1):.4g}")
    else:
        lines.append("# rate = transactions a second: it is not in the evidence")
    if any(draft.starts_ns for draft in written.drafts):
        lines.append(f"# trace = {_quoted(folder / TRACE)}  # instead of the rate: as it happened, repeated")
    lines.append("scripts = [")
    for draft, weight in zip(written.drafts, written.weights, strict=True):
        lines.append(f"  {_quoted(folder / f'{draft.name}.sql@{weight}')},")
    return "\n".join([*lines, "]", ""])
