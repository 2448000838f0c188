"""JSON and XML become text that reads like text, and hostile ones are refused."""

from __future__ import annotations

import json
import time

import pytest

from aperag_common import errors
from aperag_indexer.reading.records import DEEPEST, read_json, render
from aperag_indexer.reading.xml import read_xml


def of_json(value: object) -> str:
    return render(read_json(json.dumps(value)), html=str)


def of_xml(text: str) -> str:
    return render(read_xml(text), html=lambda html: html.replace("<p>", "").replace("</p>", ""))


def test_values_are_lines_with_their_names() -> None:
    assert of_json({"city": "서울", "zip": None, "big": 12345678901234567890, "open": True, "tags": ["a", "b"]}) == (
        "city: 서울\nbig: 12345678901234567890\nopen: true\ntags: a, b\n"
    )


def test_an_object_with_a_title_is_a_section_and_its_own_values_come_first() -> None:
    text = of_json({"title": "Ports", "ports": [{"name": "Incheon", "range": 9}, {"name": "Busan"}], "year": 2024})
    assert text.split("\n\n") == ["# Ports", "year: 2024", "ports:", "## Incheon", "range: 9", "## Busan\n"]


def test_an_object_without_a_title_keeps_its_name() -> None:
    assert of_json({"address": {"city": "Busan"}}) == "address:\ncity: Busan\n"


def test_one_value_per_line_is_read_too() -> None:
    assert render(read_json('{"name": "a"}\n{"name": "b"}\n'), html=str) == "# a\n\n\n# b\n"


@pytest.mark.parametrize("text", ["{", '{"a": }', "", '{"a": 1} x'])
def test_what_is_not_json_says_so(text: str) -> None:
    with pytest.raises(errors.CorruptDocument, match="not valid JSON"):
        read_json(text)


def test_elements_and_attributes_are_lines_with_their_names() -> None:
    text = of_xml(
        '<?xml version="1.0" encoding="euc-kr"?><r xmlns="urn:x"><port name="항구">부산</port><p>Prose.</p></r>'
    )
    assert text.split() == ["port:", "부산", "(name:", "항구)", "Prose."]


def test_an_entry_of_a_feed_is_a_section_with_its_html_below() -> None:
    feed = "<rss><channel><title>News</title><item><title>Tide</title><d>&lt;p&gt;High.&lt;/p&gt;</d></item></channel></rss>"
    assert [line for line in of_xml(feed).splitlines() if line] == ["# News", "## Tide", "High."]


def test_words_around_an_element_stay_one_sentence() -> None:
    assert of_xml("<r><para>The <b>moon</b> pulls.</para></r>") == "The moon pulls.\n"


def test_nothing_is_fetched_for_an_entity() -> None:
    text = of_xml('<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/hostname">]><r><a>&x;kept</a></r>')
    assert text == "a: kept\n"


def test_entities_that_expand_without_end_are_refused_quickly() -> None:
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<!DOCTYPE r [<!ENTITY l0 "lol">{levels}]><r>&l9;</r>'
    started = time.process_time()
    with pytest.raises(errors.CorruptDocument):
        read_xml(bomb)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("read", [read_json, read_xml])
def test_nesting_without_end_is_refused(read: object) -> None:
    deep = "[" * 100_000 + "]" * 100_000 if read is read_json else "<a>" * 100_000 + "</a>" * 100_000
    with pytest.raises(errors.CorruptDocument, match=f"{DEEPEST} levels"):
        read(deep)  # type: ignore[operator]  # one of the two functions above


@pytest.mark.parametrize("text", ["<a><b></a>", "no markup", "", "<a>&unknown;</a>"])
def test_what_is_not_xml_says_so(text: str) -> None:
    with pytest.raises(errors.CorruptDocument, match="not valid XML"):
        read_xml(text)
