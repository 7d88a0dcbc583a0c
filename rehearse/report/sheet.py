"""The sheet the picture is drawn on: inches from its top left corner, panels that share one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from rehearse.report import format as fmt
from rehearse.report import palette as p
from rehearse.report.labels import FAMILY, Ruler

WIDTH = 11.6
LEFT = 0.72
RIGHT = 0.84
SMALL = 7.5
BODY = 8.0
TITLE = 9.0
SQUARE = "■"  # the sign of a colour in a title


@dataclass(slots=True)
class Sheet:
    """A figure of `height` inches whose panels show the seconds from `start` to `end`.

    `above` further inches lie over it, at negative distances from the upper edge.
    """

    height: float
    start: float
    end: float
    above: float = 0.0
    figure: Figure = field(init=False)
    ruler: Ruler = field(init=False)
    _texts: list[tuple[float, float, float, float]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.figure = Figure(figsize=(WIDTH, self.height + self.above), dpi=100, facecolor=p.CARD)
        self.ruler = Ruler()

    @property
    def width(self) -> float:
        """Inches from the left to the right edge of a panel."""
        return WIDTH - LEFT - RIGHT

    def _up(self, y: float) -> float:
        """A distance from the upper edge as the figure's own coordinate."""
        return 1 - (y + self.above) / (self.height + self.above)

    def inches(self, seconds: float) -> float:
        """How far from a panel's left edge a time lies."""
        return (seconds - self.start) / (self.end - self.start) * self.width

    def panel(self, top: float, height: float) -> Axes:
        """An empty panel `top` inches below the sheet's upper edge."""
        box = (
            LEFT / WIDTH,
            self._up(top + height),
            self.width / WIDTH,
            height / (self.height + self.above),
        )
        axes = self.figure.add_axes(box, facecolor="none", zorder=2)
        axes.set_xlim(self.start, self.end)
        for side in ("top", "left", "right"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(p.HAIRLINE)
        axes.tick_params(axis="both", length=0, labelsize=SMALL, labelcolor=p.MUTED, labelfontfamily=FAMILY)
        axes.set_xticks([])
        return axes

    def text(  # noqa: PLR0913 - a text has this many properties
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = BODY,
        colour: str = p.INK,
        bold: bool = False,
        align: str = "left",
        vertical: str = "baseline",
    ) -> None:
        """One line of text, x inches from the panels' left edge, y inches below the sheet's upper edge."""
        text = fmt.one_line(text)
        width = self.ruler.width(text, size, bold=bold)
        left = x - {"left": 0.0, "center": width / 2, "right": width}[align]
        rise, fall = (0.11, 0.04) if vertical == "baseline" else (0.08, 0.08)
        self._texts.append((left, left + width, y - rise, y + fall))
        self.figure.text(
            (LEFT + x) / WIDTH,
            self._up(y),
            text,
            fontsize=size,
            color=colour,
            fontfamily=FAMILY,
            fontweight="bold" if bold else "normal",
            ha=align,
            va=vertical,
            parse_math=False,
            zorder=10,
        )

    def title(self, y: float, words: Sequence[tuple[str, str]]) -> None:
        """A panel's title: texts with their colours, the first one bold; what does not fit is cut."""
        x = 0.12 - LEFT
        room = self.width + RIGHT - 0.1
        for place, (words_, colour) in enumerate(words):
            first = place == 0
            size = TITLE if first else BODY
            text = self.ruler.cut(words_, size, room - x, bold=first)
            if not text:
                return
            self.text(x, y, text, size=size, colour=colour, bold=first)
            x += self.ruler.width(text, size, bold=first) + (0.05 if text == SQUARE else 0.14)

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        colour: str,
        *,
        alpha: float = 1.0,
        behind: bool = True,
    ) -> None:
        """A filled rectangle, its upper left corner at (x, y), behind the panels or before them."""
        patch = Rectangle(
            ((LEFT + x) / WIDTH, self._up(y + height)),
            width / WIDTH,
            height / (self.height + self.above),
            facecolor=colour,
            edgecolor="none",
            alpha=alpha,
            zorder=1 if behind else 5,
            transform=self.figure.transFigure,
        )
        self.figure.add_artist(patch)

    def upright(self, x: float, top: float, bottom: float, colour: str, width: float) -> None:
        """A vertical line that leaves out every text set so far."""
        y, shortest = top, 0.1
        for left, right, upper, lower in sorted(self._texts, key=lambda box: box[2]):
            if left - 0.03 <= x <= right + 0.03 and lower > y and upper < bottom:
                if upper > y + shortest:
                    self.line((x, x), (y, upper), colour, width)
                y = lower
        if y + shortest < bottom:
            self.line((x, x), (y, bottom), colour, width)

    def line(self, xs: tuple[float, float], ys: tuple[float, float], colour: str, width: float) -> None:
        """A straight line between two points, given as (x, x) and (y, y) in inches."""
        self.figure.add_artist(
            Line2D(
                [(LEFT + x) / WIDTH for x in xs],
                [self._up(y) for y in ys],
                color=colour,
                linewidth=width,
                solid_capstyle="butt",
                transform=self.figure.transFigure,
                zorder=3,
            )
        )
