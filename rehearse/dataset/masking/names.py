"""Names inside of documents: JSON's and hstore's keys, XML's elements. Which of them are but data?

A program gives its objects the same few names again and again. Where there are many, each in a few documents
only, they are values that somebody wrote in front of the colon.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator

from rehearse.dataset.masking.markup import markup_parts
from rehearse.dataset.masking.structured import leaves, store_parts

DOCUMENTS = frozenset({"json", "jsonb", "hstore", "xml"})
_MOST = 20_000  # places, and names at each
_MOST_NAMES = 200_000
_MANY = 20
_ENOUGH_TO_TELL = 60
_COMMON = 0.05


class Names:
    """The names of one column's documents, and in how many of them each stands."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._documents: Counter[str] = Counter()
        self._names = 0

    def read(self, text: str, type_name: str) -> Iterator[str]:
        """Notes a document's names, and gives its texts. Raises ValueError for what is none."""
        if type_name in {"json", "jsonb"}:
            document = json.loads(text)
            self._note(list(_keys(document, "$")))
            yield from (leaf for _, leaf in leaves(document, "$") if isinstance(leaf, str))
            return
        names, texts = store_parts(text) if type_name == "hstore" else markup_parts(text)
        self._note([("$", name) for name in names])
        yield from texts

    def common(self) -> set[str]:
        """What nearly every document has."""
        return {
            name
            for path, counts in self._counts.items()
            for name, count in counts.items()
            if count > self._few(path)
        }

    def data(self) -> list[str]:
        """Names that are none: many at one place, and most of them rare."""
        found: list[str] = []
        for path, counts in self._counts.items():
            rare = [name for name, count in counts.items() if count <= self._few(path)]
            if self._documents[path] >= _ENOUGH_TO_TELL and len(rare) >= max(_MANY, len(counts) / 2):
                found += rare
        return found

    def _few(self, path: str) -> float:
        return max(2, _COMMON * self._documents[path])

    def _note(self, places: list[tuple[str, str]]) -> None:
        # below a key that is data, every document brings places and names of its own
        for path in {path for path, _ in places}:
            if path in self._documents or len(self._documents) < _MOST:
                self._documents[path] += 1
        for path, name in set(places):
            if path not in self._documents:
                continue
            counts = self._counts[path]
            if name in counts or (len(counts) < _MOST and self._names < _MOST_NAMES):
                self._names += name not in counts
                counts[name] += 1


def _keys(node: object, path: str) -> Iterator[tuple[str, str]]:
    """Every key and the path of its object."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield path, key
            yield from _keys(value, f"{path}.{key}")
    elif isinstance(node, list):
        for item in node:
            yield from _keys(item, path)
