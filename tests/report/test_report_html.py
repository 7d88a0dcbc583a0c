"""The page: self-contained, escaped, accessible, and complete for every shape of record."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from rehearse.report.html import render_html, visible
from tests.report import records
from tests.report.build import traffic

_VOID = {"meta", "br", "link", "img", "image", "use", "path", "circle", "hr", "input"}
_LINKS = {"src", "href", "xlink:href", "action", "data", "poster", "srcset"}


class Page(HTMLParser):
    """Collects what the tests ask about, and checks that every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.labelled: list[str] = []
        self.handlers: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in _VOID:
            self.open.append(tag)
        self._attributes(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._attributes(attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    def _attributes(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in _LINKS:
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if name == "aria-labelledby":
                self.labelled.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module", params=sorted(records.ALL))
def page(request: pytest.FixtureRequest) -> Page:
    return Page(render_html(*records.ALL[request.param]()))


def test_it_is_one_well_formed_page(page: Page) -> None:
    assert page.open == []
    assert page.tags.count("h1") == 1
    assert len(page.ids) == len(set(page.ids))
    assert set(page.labelled) <= set(page.ids)


def test_it_needs_nothing_from_outside(page: Page) -> None:
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert page.handlers == []


def test_tables_have_captions_and_headers(page: Page) -> None:
    assert page.tags.count("table") == page.tags.count("caption")
    assert page.tags.count("th") >= 2 * page.tags.count("table")


def test_the_verdict_is_colour_word_and_shape() -> None:
    shapes = set()
    for name, word in (
        ("naive-index", "NO-GO"),
        ("concurrent-index", "GO"),
        ("inconclusive", "INCONCLUSIVE"),
    ):
        html = render_html(*records.ALL[name]())
        assert f'<h1 id="verdict">{word}</h1>' in html
        assert f'class="verdict {word.lower()}"' in html
        shape = re.search(r'aria-labelledby="verdict">\s*(<svg.*?</svg>)', html, re.DOTALL)
        assert shape
        shapes.add(shape[1])
    assert len(shapes) == 3


def test_the_naive_index_is_told_in_full() -> None:
    text = Page(render_html(*records.naive_index())).text
    for words in (
        "CREATE INDEX builds over orders while its SHARE lock keeps every write out (and 1 more reason).",
        "Longest stall 2.9 s place_order, 348 due",
        "Blocking at production size 7 min 15 s orders at 300 M rows",
        "CREATE INDEX CONCURRENTLY orders_customer_id_idx ON orders (customer_id);",
        "SHARE on orders",
        "built orders_customer_id_idx on orders: 2 M rows, 43 MiB",
        "place_order ROW EXCLUSIVE on orders the migration 32 32 at least 2.9 s",
        "noise guard: the halves of the baseline differ by 6 %",
        "Behind its own schedule p50 80 µs, p99 410 µs, at most 2.3 ms",
        "orders 2 M 300 M 150× 310 MiB 44 MiB yes",
        "customers 200 k not given",
        "INSERT INTO orders (customer_id, total) VALUES ($1, $2)",
        "scenarios/naive-index.toml",
    ):
        assert words in text, words


def test_failures_come_before_warnings() -> None:
    text = Page(render_html(*records.naive_index())).text
    assert text.index("index-build-blocks-writes") < text.index("unbounded-lock-queue")


def test_what_was_not_measured_is_never_a_zero() -> None:
    text = Page(render_html(*records.inconclusive())).text
    assert "Longest stall not measured" in text
    assert "Errors not measured" in text
    assert "Not measured: the run kept no samples of the traffic." in text


def test_a_run_that_died_says_where() -> None:
    text = Page(render_html(*records.aborted())).text
    assert "The run stopped in the stage 'load', before it could be judged: the disk is full." in text
    assert "There is no timeline" in text


def test_markup_from_outside_is_text() -> None:
    html = render_html(*records.hostile())
    assert "<script" not in html
    assert "\x0b" not in html
    assert "\x00" not in html
    assert html.count("&lt;script&gt;alert(") > 20
    assert records.HOSTILE in Page(html).text


def test_an_address_with_a_password_is_not_shown() -> None:
    record, samples = records.naive_index()
    spec = replace(record.scenario.database, provision="postgresql://app:hunter2@db.internal/shop")
    html = render_html(replace(record, scenario=replace(record.scenario, database=spec)), samples)
    assert "hunter2" not in html
    assert "db.internal" not in html
    assert "an existing server (address not shown)" in html


def test_a_very_long_statement_is_cut_and_says_so() -> None:
    assert visible("x" * 10_000).endswith("… (6,000 characters more)")
    assert visible("a\x1b[31mb\x00") == "a [31mb"


def test_twenty_thousand_transactions_render_in_time() -> None:
    record, samples = records.naive_index()
    samples = traffic(record.trials[0].phases, rate=1200.0)
    assert len(samples) > 20_000
    started = time.process_time()
    render_html(record, samples)
    assert time.process_time() - started < 30


def test_the_table_of_response_times_agrees_with_the_stall() -> None:
    text = Page(render_html(*records.naive_index())).text
    row = re.search(r"place_order warm-up .*? migration \d+ 0 (\S+ \S+) (\S+ \S+) (\S+ \S+) (\S+ \S+)", text)
    assert row
    assert row[3] == "2.9 s"
    assert row[1].endswith(" s")


def test_on_a_phone_the_picture_begins_with_its_labels() -> None:
    html = render_html(*records.naive_index())
    assert "direction: rtl" not in html  # which would open it scrolled to its right end
    assert "Scroll the chart to the right for the migration" in html
    assert ".onward { display: none;" in html
    assert "Scroll the chart" not in render_html(*records.aborted())
