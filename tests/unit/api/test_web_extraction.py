"""Pages as text: charsets that lie, kinds of page, text that is not there."""

from __future__ import annotations

import httpx
import pytest

from aperag_api.knowledge.web.adapters.extraction import extract
from aperag_api.knowledge.web.pages.charsets import decoded
from aperag_api.knowledge.web.pages.measure import PIECE, measure
from aperag_api.knowledge.web.pages.media import charset_of, require_readable
from aperag_common import errors
from aperag_common.outbound.client import Head

TEA = "Grüner Tee — 緑茶"
META = '<meta charset="{}"><p>Grüner Tee</p>'


@pytest.mark.parametrize(
    ("content", "declared", "text"),
    [
        (TEA.encode(), "", TEA),
        (TEA.encode(), "iso-8859-1", TEA),
        (TEA.encode(), "no such charset", TEA),
        ("Grüner Tee".encode("latin-1"), "iso-8859-1", "Grüner Tee"),
        ("“Tee”".encode("cp1252"), "ISO-8859-1", "“Tee”"),
        ("“Tee”".encode("cp1252"), "us-ascii", "“Tee”"),
        ("緑茶".encode("shift_jis"), "Shift_JIS", "緑茶"),
        ("緑茶".encode("iso2022_jp"), "ISO-2022-JP", "緑茶"),
        ("绿茶".encode("gb18030"), "gb2312", "绿茶"),
        ("녹차".encode("cp949"), "ks_c_5601-1987", "녹차"),
        ("чай".encode("koi8-r"), "koi8-r", "чай"),
        (b"\xef\xbb\xbf" + TEA.encode(), "latin-1", TEA),
        (b"\xff\xfe" + TEA.encode("utf-16-le"), "utf-8", TEA),
        (TEA.encode("utf-16-le"), "utf-16le", TEA),
        (META.format("iso-8859-1").encode("latin-1"), "", META.format("iso-8859-1")),
        (META.format("utf-8").encode("latin-1"), "windows-1252", META.format("utf-8")),
        ("Grün \udc81".encode("cp1252", "surrogateescape"), "windows-1252", "Grün �"),
    ],
)
def test_text_is_found_whatever_the_server_says(content: bytes, declared: str, text: str) -> None:
    assert decoded(content, declared) == text


@pytest.mark.parametrize(
    "declared", ["punycode", "unicode_escape", "idna", "rot13", "zlib", "base64", "utf-7", "\0", ""]
)
def test_a_codec_that_is_no_charset_is_not_used(declared: str) -> None:
    assert decoded(b"\\u0041 +AEE-", declared) == "\\u0041 +AEE-"
    assert decoded(b"\xfc", declared) is None


ARTICLE = "<p>Green tea is steeped at seventy degrees for two minutes, and no longer than that.</p>"
PAGE = f"""<html><head><title> Tea
 guide </title></head><body><nav><a href="/">Home</a></nav><article><h1>Tea</h1>{ARTICLE * 3}
<table><tr><th>Kind</th><th>Minutes</th></tr><tr><td>Black</td><td>4</td></tr></table></article>
<script>var secret = 1;</script></body></html>"""


@pytest.mark.parametrize("media_type", ["text/html", "application/xhtml+xml", "", "application/octet-stream"])
def test_the_main_text_of_a_page_is_kept_as_markdown(media_type: str) -> None:
    found = extract(PAGE.encode(), media_type, "")
    assert found.title == "Tea guide"
    assert "# Tea" in found.text
    assert "steeped at seventy degrees" in found.text
    assert "| Black | 4 |" in found.text
    assert "secret" not in found.text
    assert "Home" not in found.text


@pytest.mark.parametrize(
    ("content", "media_type", "title", "text"),
    [
        (b"# Tea\n\nGreen", "text/markdown", "Tea", "# Tea\n\nGreen"),
        (b" <b>as it is</b> ", "text/plain", "", "<b>as it is</b>"),
        (b'{"tea": "green"}', "application/json", "", '{"tea": "green"}'),
        (b"plain", "", "", "plain"),
        (b"a\0b", "text/plain", "", "ab"),
    ],
)
def test_text_is_kept_as_it_is(content: bytes, media_type: str, title: str, text: str) -> None:
    assert extract(content, media_type, "") == (title, text)


def test_a_short_page_without_an_article_is_still_text() -> None:
    assert "Closed today" in extract(b"<html><body><div>Closed today</div></body></html>", "text/html", "").text


@pytest.mark.parametrize(
    ("content", "media_type", "code"),
    [
        (b"", "text/html", "NO_CONTENT"),
        (b"   \n", "text/plain", "NO_CONTENT"),
        (b"<html><body><script>render()</script></body></html>", "text/html", "NO_CONTENT"),
        (b"%PDF-1.7\n\0\0binary", "application/octet-stream", "UNSUPPORTED_CONTENT_TYPE"),
    ],
)
def test_a_page_without_text_says_so(content: bytes, media_type: str, code: str) -> None:
    with pytest.raises(errors.ApeRAGError) as raised:
        extract(content, media_type, "")
    assert raised.value.error_code == code


@pytest.mark.parametrize(
    "content",
    [b"<div>" * 100_000 + b"deep", b"<p" + b" a=1" * 50_000, b"<!--" * 50_000, b"<![CDATA[" * 10_000],
    ids=["deep", "attributes", "comments", "sections"],
)
def test_markup_made_to_break_parsers_ends_in_text_or_an_error_of_ours(content: bytes) -> None:
    try:
        outcome = extract(content, "text/html", "").text
    except errors.ApeRAGError as err:
        outcome = err.error_code
    assert outcome in {"deep", "NO_CONTENT", "PARSE_FAILED"}


def answer(status: int, content_type: str | None) -> Head:
    return Head("https://example.org/", status, httpx.Headers({"content-type": content_type} if content_type else {}))


@pytest.mark.parametrize(
    ("status", "content_type", "code"),
    [
        (200, "text/html; charset=utf-8", None),
        (200, "Application/XHTML+XML", None),
        (203, "text/plain", None),
        (200, "application/ld+json", None),
        (200, None, None),
        (200, "application/pdf", "UNSUPPORTED_CONTENT_TYPE"),
        (200, "image/png", "UNSUPPORTED_CONTENT_TYPE"),
        (200, "text/css", "UNSUPPORTED_CONTENT_TYPE"),
        (404, "text/html", "HTTP_404"),
        (304, "text/html", "HTTP_304"),
        (429, "text/html", "HTTP_429"),
        (503, "application/pdf", "HTTP_503"),
    ],
)
def test_only_pages_are_read(status: int, content_type: str | None, code: str | None) -> None:
    if code is None:
        require_readable(answer(status, content_type))
        return
    with pytest.raises(errors.ApeRAGError) as raised:
        require_readable(answer(status, content_type))
    assert raised.value.error_code == code
    assert isinstance(raised.value, errors.Retryable) is (status in {429, 503})


def test_the_charset_is_read_from_the_header() -> None:
    assert charset_of(answer(200, 'text/html; boundary=x; Charset="Big5"')) == "Big5"
    assert charset_of(answer(200, "text/html")) == ""


def test_words_and_tokens_are_counted_in_every_script() -> None:
    assert measure("") == (0, 0)
    assert measure("Green tea, brewed.").words == 3
    assert measure("緑茶 is tea").words == 4
    long = "tea " * PIECE
    assert measure(long).words == measure(long).tokens == PIECE
