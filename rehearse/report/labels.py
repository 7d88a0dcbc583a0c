"""How wide a text is, and where a label goes so that it is neither cut nor on top of another."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

FAMILY = "DejaVu Sans"


class Ruler:
    """Measures text in inches, as it will be set."""

    def __init__(self) -> None:
        self._outlines = TextToPath()
        self._known: dict[tuple[str, float, bool], float] = {}

    def width(self, text: str, size: float, *, bold: bool = False) -> float:
        """The width of one line of text at `size` points."""
        key = text, size, bold
        if key not in self._known:
            font = FontProperties(family=FAMILY, size=size, weight="bold" if bold else "normal")
            with warnings.catch_warnings():  # what this font lacks, a browser's will have
                warnings.filterwarnings("ignore", message=r"Glyph \d+ ")
                width, _, _ = self._outlines.get_text_width_height_descent(text, font, False)
            self._known[key] = width / 72
        return self._known[key]

    def cut(self, text: str, size: float, room: float, *, bold: bool = False) -> str:
        """`text`, or as much of it with an ellipsis as goes into `room` inches; empty if none does."""
        if self.width(text, size, bold=bold) <= room:
            return text
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            if self.width(text[:middle].rstrip() + "…", size, bold=bold) <= room:
                low = middle
            else:
                high = middle - 1
        return text[:low].rstrip() + "…" if low > 3 else ""


@dataclass(frozen=True, slots=True)
class Placed:
    """A label and where it starts (`left`) or ends (`right`), in inches from the panel's left edge."""

    text: str
    x: float
    align: str  # left, right
    inside: bool = False


_PAD = 0.06
PLACES = ("right", "left", "in")


def beside(
    ruler: Ruler,
    texts: Sequence[str],
    size: float,
    bar: tuple[float, float],
    width: float,
    order: Sequence[str] = PLACES,
) -> Placed | None:
    """A place for the longest of `texts` that fits: right of the bar, left of it, or in it.

    `bar` and `width` are inches; the panel reaches from 0 to `width`. If nothing fits, the shortest is
    cut to the roomiest place; None if even that is too tight. `order` has the places to try.
    """
    left, right = max(bar[0], 0.0), min(bar[1], width)
    rooms = _rooms((left, right), width)
    for text in texts:
        needed = ruler.width(text, size)
        for place in order:
            if needed <= rooms[place]:
                return _placed(text, place, left, right)
    roomiest = max(order, key=lambda place: rooms[place])
    text = ruler.cut(texts[-1], size, rooms[roomiest])
    return _placed(text, roomiest, left, right) if text else None


def _rooms(bar: tuple[float, float], width: float) -> dict[str, float]:
    return {"right": width - bar[1] - _PAD, "left": bar[0] - _PAD, "in": bar[1] - bar[0] - 2 * _PAD}


def side(
    ruler: Ruler, texts: Sequence[str], size: float, bars: Sequence[tuple[float, float]], width: float
) -> str:
    """The side, left or right, on which more of the `texts` fit beside their bars: one panel, one side."""
    fitting = {"right": 0, "left": 0}
    for text, bar in zip(texts, bars, strict=True):
        rooms = _rooms(bar, width)
        needed = ruler.width(text, size)
        for place in fitting:
            fitting[place] += needed <= rooms[place]
    return "left" if fitting["left"] > fitting["right"] else "right"


def _placed(text: str, place: str, left: float, right: float) -> Placed:
    if place == "right":
        return Placed(text, right + _PAD, "left")
    if place == "left":
        return Placed(text, left - _PAD, "right")
    return Placed(text, left + _PAD, "left", inside=True)


def spread(centres: Sequence[float], widths: Sequence[float], total: float, gap: float) -> list[float]:
    """Left edges for labels of `widths` near their `centres`, in order, without overlap, in 0..total.

    The labels keep `gap` between them; centres are in increasing order. If they do not all fit, they
    are packed from the left edge and may pass `total`.
    """
    lefts: list[float] = []
    edge = 0.0
    for centre, width in zip(centres, widths, strict=True):
        lefts.append(max(centre - width / 2, edge))
        edge = lefts[-1] + width + gap
    limit = total
    for i in reversed(range(len(lefts))):
        lefts[i] = min(lefts[i], limit - widths[i])
        limit = lefts[i] - gap
    shift = max(0.0, -min(lefts, default=0.0))
    return [left + shift for left in lefts]
