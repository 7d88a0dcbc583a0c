"""What a rule means and what to do instead, for `rehearse explain`."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from rehearse.errors import InputError
from rehearse.judge.rules import RULES

_EFFECTS = {
    "failure": "makes the verdict NO-GO",
    "unmeasured": "makes the verdict INCONCLUSIVE",
    "warning": "leaves the verdict alone",
    "note": "leaves the verdict alone",
}


def listed() -> str:
    """All rules with their severity, a line each."""
    width = max(len(rule.id) for rule in RULES)
    rules = sorted(RULES, key=lambda rule: rule.id)
    return "\n".join(f"{rule.id:{width}}  {rule.severity.value}" for rule in rules)


def explain(rule: str) -> str:
    """The rule's reason and the safe way. Raises InputError, naming the nearest, for an unknown rule."""
    found = next((known for known in RULES if known.id == rule), None)
    if found is None:
        names = sorted(known.id for known in RULES)
        near = _nearest(rule, names)
        mend = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are: {', '.join(names)}"
        raise InputError(f"there is no rule {rule!r}", mend)
    severity = found.severity.value
    return (
        f"{found.id} ({severity}: {_EFFECTS[severity]})\n\n{found.reason}\n\nThe safe way: {found.safe_way}\n"
    )


def _nearest(rule: str, names: Sequence[str]) -> list[str]:
    """The name most like `rule`; else those with a word like it: of `rewrte`, `rewrite-under-lock`."""
    whole = get_close_matches(rule, names, n=1)
    if whole:
        return whole
    words = {word for name in names for word in name.split("-")}
    near = get_close_matches(rule, words, n=1, cutoff=0.75)
    return [name for name in names if near and near[0] in name.split("-")]
