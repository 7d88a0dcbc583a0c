"""The picture: what is known of a run is in it, in words, and nothing is fetched to show it."""

from __future__ import annotations

import time
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from rehearse.report import picture
from rehearse.report.timeline import timeline
from tests.report import records

DRAWN = sorted(set(records.ALL) - {"aborted"})


def svg_of(name: str) -> str:
    svg = picture.render_svg(*records.ALL[name]())
    assert svg is not None
    return svg


def texts(svg: str) -> list[str]:
    root = ET.fromstring(svg.replace("xlink:href", "href"))
    return ["".join(element.itertext()) for element in root.iter("text")]


@pytest.mark.parametrize("name", DRAWN)
def test_it_is_one_element_that_stands_alone(name: str) -> None:
    svg = svg_of(name)
    assert svg.startswith("<svg ")
    root = ET.fromstring(svg.replace("xlink:href", "href"))
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert root.findtext("title") == root.get("aria-label")
    links = [value for element in root.iter() for key, value in element.attrib.items() if key == "href"]
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert "http" not in svg


@pytest.mark.parametrize("name", DRAWN)
def test_no_text_leaves_the_sheet(name: str) -> None:
    root = ET.fromstring(svg_of(name).replace("xlink:href", "href"))
    _, _, width, height = (float(number) for number in root.attrib["viewBox"].split())
    for element in root.iter("text"):
        if "x" in element.attrib:
            assert 0 <= float(element.attrib["x"]) <= width
            assert 0 <= float(element.attrib["y"]) <= height


def test_the_naive_index_in_words() -> None:
    svg = svg_of("naive-index")
    shown = texts(svg)
    assert "stalled 2.9 s" in shown
    assert "place_order" in shown
    assert {"Response time", "Throughput", "Failed or unfinished", "Migration", "Lock waits"} <= set(shown)
    assert {"warm-up 3 s", "baseline 8 s", "migration 2.9 s", "recovery 4 s"} <= set(shown)
    assert any(text.startswith("CREATE INDEX orders_customer_id_idx") for text in shown)
    assert any("ROW EXCLUSIVE on orders" in text for text in shown)
    assert "place_order stalled 2.9 s" in svg.split(">", 1)[0]


def test_a_calm_run_says_so() -> None:
    shown = texts(svg_of("concurrent-index"))
    assert not any(text.startswith("stalled") for text in shown)
    assert shown.count("none") == 1  # failures
    assert "none seen" in shown  # lock waits


def test_the_migration_is_named_by_its_own_length_not_its_phase() -> None:
    assert "migration 8.1 ms" in texts(svg_of("instant-alter"))


def test_failures_are_named_with_their_counts() -> None:
    shown = texts(svg_of("failed-migration"))
    assert any(text.startswith("42703 undefined column ×") for text in shown)
    assert any(text.startswith("40P01 deadlock ×") for text in shown)
    assert "1 statement never ran" in shown
    assert any(text.startswith("the migration · ACCESS EXCLUSIVE on orders") for text in shown)


def test_traffic_that_was_not_measured_is_not_drawn_as_calm() -> None:
    shown = texts(svg_of("inconclusive"))
    assert "not measured: the run kept no samples" in shown
    assert "Response time" not in shown


def test_markup_in_names_is_text() -> None:
    svg = svg_of("hostile")
    assert "<script" not in svg
    assert any("<script>alert('x')</script>" in text for text in texts(svg))


def test_dollars_are_not_mathematics_and_unknown_glyphs_do_not_warn() -> None:
    record, samples = records.naive_index()
    assert record.judgement is not None
    stalls = tuple(replace(stall, script="$a$ 表\x0b") for stall in record.judgement.stalls)
    record = replace(record, judgement=replace(record.judgement, stalls=stalls))
    svg = picture.render_svg(record, samples)
    assert svg is not None
    assert "$a$ 表" in texts(svg)
    assert picture.render_png(record, samples, dpi=50) is not None


def test_the_same_record_gives_the_same_picture() -> None:
    assert svg_of("failed-migration") == svg_of("failed-migration")


def test_png_for_a_readme() -> None:
    png = picture.render_png(*records.naive_index(), dpi=60)
    assert png is not None
    assert png.startswith(b"\x89PNG")


def test_nothing_to_draw_is_none() -> None:
    assert picture.render_svg(*records.aborted()) is None
    assert picture.render_png(*records.aborted()) is None


def test_a_quarter_of_a_million_transactions_stay_small() -> None:
    record, samples = records.very_long()
    assert len(samples) > 200_000
    started = time.process_time()
    svg = picture.render_svg(record, samples)
    assert time.process_time() - started < 60
    assert svg is not None
    assert len(svg) < 2_000_000


def test_the_description_says_what_happened() -> None:
    record, samples = records.failed_migration()
    drawn = timeline(record, samples)
    assert drawn is not None
    words = picture.describe(record, drawn)
    assert "NO-GO" in words
    assert "read_order, place_order stalled 4.5 s" in words
    assert "the migration waited for ACCESS EXCLUSIVE on orders, at least 1.5 s" in words
