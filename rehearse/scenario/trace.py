"""A recorded schedule: lines of `seconds,script`. Pure; what is wrong is a RefusedError naming the line."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rehearse.model.workload import Trace
from rehearse.scenario.nearest import suggestion
from rehearse.scenario.values import RefusedError

_HEADER = "seconds"


def parse_trace(text: str, file: str, scripts: Sequence[str], *, repeat: bool = True) -> Trace:
    """The schedule in `text`: when each transaction is due, in seconds from any zero, and the name of its
    script among `scripts`. A first line that names the columns, empty ones and `#` comments are passed over.
    """
    entries: list[tuple[float, int]] = []
    places = {name: place for place, name in enumerate(scripts)}
    for number, line in enumerate(text.splitlines(), start=1):
        words = [word.strip() for word in line.split(",")]
        if not line.strip() or line.lstrip().startswith("#") or (number == 1 and words[0] == _HEADER):
            continue
        entries.append(_entry(words, places, f"{file}, line {number}"))
    if not entries:
        raise RefusedError(f"names {file}, which has no transaction", "a line each: 0.125,read_order")
    entries.sort()
    first = entries[0][0]
    due = tuple(round((at - first) * 1e9) for at, _ in entries)
    # once round, the next turn comes after an ordinary gap
    length = due[-1] + max(round(due[-1] / max(len(due) - 1, 1)), 1_000_000)
    return Trace(file, length, due, tuple(script for _, script in entries), repeat)


def _entry(words: Sequence[str], places: dict[str, int], where: str) -> tuple[float, int]:
    if len(words) != 2:
        raise RefusedError(f"names {where}, which is not `seconds,script`")
    try:
        at = float(words[0])
    except ValueError:
        at = math.nan
    if not math.isfinite(at):
        raise RefusedError(f"names {where}, where `{words[0]}` is no time in seconds")
    if words[1] not in places:
        raise RefusedError(
            f"names {where}, where `{words[1]}` is no script of the workload", suggestion(words[1], places)
        )
    return at, places[words[1]]
