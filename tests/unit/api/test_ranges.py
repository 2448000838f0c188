"""Ranges and file names in headers."""

from __future__ import annotations

import pytest

from aperag_api.knowledge.contents.ranges import ByteRange, RangeNotSatisfiable, content_disposition, parse_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-3", ByteRange(0, 4)),
        ("bytes=4-", ByteRange(4, 10)),
        ("bytes=-3", ByteRange(7, 10)),
        ("bytes=-99", ByteRange(0, 10)),
        ("bytes=8-99", ByteRange(8, 10)),
        ("bytes=8-" + "9" * 40, ByteRange(8, 10)),
        ("Bytes=0-3", ByteRange(0, 4)),
        ("bytes = 0 - 0", ByteRange(0, 1)),
    ],
)
def test_a_range_is_cut_to_the_object(header: str, expected: ByteRange) -> None:
    assert parse_range(header, 10) == expected


@pytest.mark.parametrize(
    "header", [None, "", "bytes=-", "bytes=5-2", "bytes=0-1,4-5", "items=0-1", "bytes=a-b", "bytes=" + "9" * 5000 + "-"]
)
def test_what_is_not_one_range_means_the_whole_object(header: str | None) -> None:
    assert parse_range(header, 10) is None


@pytest.mark.parametrize(
    ("header", "size"),
    [("bytes=10-", 10), ("bytes=99-100", 10), ("bytes=" + "9" * 40 + "-", 10), ("bytes=-0", 10), ("bytes=0-", 0)],
)
def test_a_range_outside_the_object_cannot_be_satisfied(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(header, size)


def test_content_range_counts_the_last_byte() -> None:
    assert ByteRange(2, 5).content_range(10) == "bytes 2-4/10"


@pytest.mark.parametrize("name", ['a"b.txt', "a\r\nSet-Cookie: x.txt", "차 🍵.md", "a\\b%41.txt", "plain.txt"])
def test_no_name_breaks_out_of_its_header(name: str) -> None:
    header = content_disposition(name)
    header.encode("latin-1")
    assert "\r" not in header
    assert "\n" not in header
    plain = header.removeprefix('attachment; filename="').partition('"')[0]
    assert header.startswith(f"attachment; filename=\"{plain}\"; filename*=UTF-8''")


def test_the_exact_name_travels_as_utf8() -> None:
    assert content_disposition("차.md").endswith("filename*=UTF-8''%EC%B0%A8.md")
