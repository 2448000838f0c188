"""Bytes to characters, and where the pages of a text lie."""

from __future__ import annotations

import random

import pytest

from aperag_common import errors
from aperag_indexer.reading.pages import join_pages, paged
from aperag_indexer.reading.text import SAMPLE_BYTES, declared_encoding, decode, read_text

KOREAN = "서울은 대한민국의 수도이며 한강이 도시를 가로질러 흐른다. 많은 사람들이 강변에서 산책을 즐긴다."
CHINESE = "北京是中华人民共和国的首都，拥有悠久的历史和丰富的文化遗产。每年都有许多游客前来参观故宫。"
JAPANESE = "名前,年齢,住所\n佐藤太郎,30,東京\n三木英子,25,大阪\n髙橋淳,35,名古屋\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (KOREAN, "utf-8"),
        (KOREAN, "cp949"),
        (KOREAN, "utf-16-le"),
        (KOREAN, "utf-16-be"),
        (CHINESE, "gb18030"),
        (CHINESE, "utf-16"),
        (JAPANESE, "cp932"),
        ("naïve café", "utf-8-sig"),
        ("plain", "ascii"),
        ("plain words", "utf-16-le"),
    ],
)
def test_text_is_read_in_the_encoding_it_was_written_in(text: str, encoding: str) -> None:
    assert decode((text * 5).encode(encoding)) == text * 5


@pytest.mark.parametrize("shift", range(3))
def test_a_legacy_text_longer_than_the_sample_is_read_wherever_the_sample_ends(shift: int) -> None:
    text = "x" * shift + KOREAN * (SAMPLE_BYTES // len(KOREAN.encode("cp949")) + 5)
    assert decode(text.encode("cp949")) == text


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ('<meta charset="euc-kr">', "cp949"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=gbk">', "gb18030"),
        ('<?xml version="1.0" encoding="Shift_JIS"?>', "cp932"),
        ('<meta charset="no-such-thing">', None),
        ("<p>charset=euc-kr</p>", None),
    ],
)
def test_what_a_text_says_of_its_encoding_is_read_as_browsers_read_it(head: str, encoding: str | None) -> None:
    assert declared_encoding(head.encode()) == encoding


def test_a_declared_encoding_decides_where_a_guess_could_err() -> None:
    page = '<meta charset="euc-kr"><p>조수</p>'
    assert decode(page.encode("cp949")) == page


def test_utf8_wins_over_a_declaration_that_the_bytes_deny() -> None:
    page = '<meta charset="euc-kr"><p>조수</p>'
    assert decode(page.encode()) == page


def test_markdown_is_left_as_its_author_wrote_it() -> None:
    markdown = "# T\n\n* a_b\n\n| x |\n|---|\n| 1 |\n"
    assert decode(markdown.replace("\n", "\r\n").encode()) == markdown


@pytest.mark.parametrize("data", [b"\x00\x01\x02\x03" * 100, b"\x00\x01binary", random.Random(1).randbytes(1000)])
def test_binary_data_with_a_text_suffix_is_refused(data: bytes) -> None:
    with pytest.raises(errors.CorruptDocument):
        decode(data)


LEGACY = [
    ("L’été dernier, la société a été créée à Genève ; prix 12 €.", "cp1252"),
    ("Zürich", "cp1252"),
    ("naïve café", "cp1252"),
    ("price £5", "cp1252"),
    ("100 µm ± 2 °C", "cp1252"),
    ("§ 5 Abs. 2", "cp1252"),
    ("5 ½ × 3 ¾", "cp1252"),
    ("Français, à bientôt", "cp1252"),
    ("Blåbærgrød på øen, æbler og kød.", "cp1252"),
    ("Příliš žluťoučký kůň", "cp1250"),
    ("Zażółć gęślą jaźń", "cp1250"),
    ("Árvíztűrő tükörfúrógép", "cp1250"),
    ("Возврат товара возможен", "cp1251"),
    ("МОСКВА", "cp1251"),
    ("Привет, мир", "koi8-r"),
    ("Η επιστροφή προϊόντων είναι δυνατή.", "cp1253"),
    ("ΑΘΗΝΑ", "cp1253"),
    ("İstanbul'da güneşli bir gün", "cp1254"),
    ("שלום עולם", "cp1255"),
    ("مرحبا بالعالم", "cp1256"),
    ("สวัสดีชาวโลก", "cp874"),
    ("반품", "cp949"),
    ("이름,도시\n김철수,서울", "cp949"),
    ("姓名,电话\n张三,13800000000", "gb18030"),
    ("发票抬头请填写公司全称。", "gb18030"),
    ("│ 状态 ─ 正常 │", "gb18030"),
    ("名前,年齢", "cp932"),
    ("東京都", "euc_jp"),
    ("日本語のテキスト", "iso2022_jp"),
    ("發票號碼", "big5"),
]


@pytest.mark.parametrize(("text", "encoding"), LEGACY)
def test_a_few_words_are_enough_to_tell_a_legacy_encoding(text: str, encoding: str) -> None:
    assert read_text(text.encode(encoding)).text == text


@pytest.mark.parametrize("encoding", ["utf-8", "cp949", "cp1251"])
def test_a_damaged_byte_leaves_the_rest_of_the_text_intact(encoding: str) -> None:
    whole = (KOREAN if encoding != "cp1251" else "Возврат товара возможен в течение четырнадцати дней. ") * 5
    damaged = bytearray(f"{whole}\n".encode(encoding) * 3)
    damaged[len(damaged) // 2] = 0x98 if encoding == "cp1251" else 0xFF
    read = read_text(bytes(damaged))
    assert read.text.startswith(whole)
    assert read.text.endswith(f"{whole}\n")
    assert 1 <= read.torn <= 3


def test_a_text_that_was_cut_inside_a_character_is_read_to_there() -> None:
    assert read_text((CHINESE * 20).encode()[:-1]).text == (CHINESE * 20)[:-1] + "\ufffd"


def test_a_zero_byte_is_dropped_and_the_text_is_read() -> None:
    assert (
        decode("한글 문서\n널 \x00 문자가 하나 있는 줄입니다\n".encode())
        == "한글 문서\n널  문자가 하나 있는 줄입니다\n"
    )


def test_marks_of_page_ends_become_pages_and_leave_no_trace() -> None:
    markdown, pages = paged("one \x0ctwo\n\n\x0cthree", "\x0c")
    assert markdown == "one two\n\nthree"
    assert [markdown[page.start : page.end] for page in pages] == ["one ", "two\n\n", "three"]


def test_pages_read_one_by_one_keep_their_numbers() -> None:
    markdown, spans = join_pages({2: "third", 0: "first\n", 1: " "})
    assert [(span.page_idx, markdown[span.start : span.end].strip()) for span in spans] == [(0, "first"), (2, "third")]
