"""What makes two requests the same request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aperag_api.kernel.idempotency.fingerprint import Fingerprint

PLAIN = ("POST", "/api/v1/collections")


def of(
    *chunks: bytes, content_type: str = "application/json", parts: tuple[str, ...] = PLAIN, key: bytes = b"k"
) -> str:
    fingerprint = Fingerprint([key], parts, content_type)
    for chunk in chunks:
        fingerprint.add(chunk)
    return fingerprint.value()


def form(boundary: bytes, *contents: bytes) -> bytes:
    parts = [b"--" + boundary + b'\r\nContent-Disposition: form-data; name="files"\r\n\r\n' + c for c in contents]
    return b"\r\n".join([*parts, b"--" + boundary + b"--\r\n"])


def of_form(boundary: bytes, *contents: bytes, every: int = 0) -> str:
    body = form(boundary, *contents)
    chunks = [body[at : at + every] for at in range(0, len(body), every)] if every else [body]
    return of(*chunks, content_type=f"multipart/form-data; boundary={boundary.decode()}")


def test_the_same_request_has_the_same_fingerprint() -> None:
    assert of(b"abc") == of(b"a", b"", b"bc")


@pytest.mark.parametrize(
    "other",
    [
        of(b"abd"),
        of(b"ab"),
        of(b"abc", key=b"other"),
        of(b"abc", content_type="text/plain"),
        of(b"abc", parts=("POST", "/api/v1/collection", "s")),
        of(b"abc", parts=("POST", "/api/v1/collections", "")),
        of(b"abc", parts=("POST/api/v1", "/collections")),
    ],
)
def test_whatever_differs_tells_requests_apart(other: str) -> None:
    assert other != of(b"abc")


@given(st.lists(st.binary(max_size=60), max_size=3), st.integers(1, 50))
def test_a_form_is_the_same_whatever_its_boundary_and_however_it_arrives(contents: list[bytes], every: int) -> None:
    whole = of_form(b"e5e2a6bc0f", *contents)
    assert whole == of_form(b"e5e2a6bc0f", *contents, every=every)
    assert whole == of_form(b"17", *contents, every=every) or any(b"--17" in content for content in contents)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_forms_that_hold_something_else_differ(one: bytes, other: bytes) -> None:
    assert (of_form(b"e5e2a6bc0f", one) == of_form(b"0b41", other)) == (one == other) or b"--0b41" in other
