"""What a rule means and what to do instead, for `rehearse explain`."""

from __future__ import annotations

from difflib import get_close_matches

from rehearse.errors import InputError
from rehearse.judge.rules import RULES

_EFFECTS = {
    "failure": "makes the verdict NO-GO",
    "unmeasured": "makes the verdict INCONCLUSIVE",
    "warning": "leaves the verdict alone",
    "note": "leaves the verdict alone",
}


def explain(rule: str) -> str:
    """The rule's reason and the safe way. Raises InputError, naming the nearest, for an unknown rule."""
    found = next((known for known in RULES if known.id == rule), None)
    if found is None:
        names = [known.id for known in RULES]
        near = get_close_matches(rule, names, n=1)
        mend = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(names))}"
        raise InputError(f"there is no rule {rule!r}", mend)
    severity = found.severity.value
    return (
        f"{found.id} ({severity}: {_EFFECTS[severity]})\n\n{found.reason}\n\nThe safe way: {found.safe_way}\n"
    )
