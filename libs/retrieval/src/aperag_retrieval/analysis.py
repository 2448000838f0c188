"""From text to terms, the same for index and query on every backend."""

from __future__ import annotations

import importlib
import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

from snowballstemmer.porter_stemmer import PorterStemmer

from aperag_common import errors
from aperag_common.db.models.chunk_term import TERM_SPACE
from aperag_retrieval import words

DEFAULT_ANALYZER = "standard/2"
FIRST_ANALYZER = "standard/1"
KIWI_ANALYZER = "kiwi/1"

# Lucene's English stop list: the anchor that the weights were measured with.
STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be but by for if in into is it no not of on or such that the their then there these "
        "they this to was will with",
    )
)
# What Kiwi calls content: nouns, verbs, adjectives, roots. Particles and endings carry no topic.
KIWI_TAGS = frozenset(("NNG", "NNP", "NNB", "NR", "NP", "VV", "VA", "XR", "SL", "SN", "SH"))

HANGUL = "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"
KANA = "\u3041-\u309f\u30a1-\u30ff\u31f0-\u31ff"
HAN = "\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
# Written without spaces too; a whole sentence would otherwise be one term.
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"

_TERM = re.compile(
    f"(?P<han>[{HAN}{KANA}{UNSPACED}]+)"
    f"|(?P<hangul>[{HANGUL}]+)"
    f"|(?P<word>[^\\W_{HAN}{KANA}{HANGUL}{UNSPACED}]+(?:['\u2019][^\\W_{HAN}{KANA}{HANGUL}{UNSPACED}]+)*)"
)
_MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963"
_LETTER = f"(?:[^\\W_{HAN}{KANA}{HANGUL}{UNSPACED}]|[{_MARKS}])"
_WORDS = re.compile(
    f"(?P<han>[{HAN}{KANA}{UNSPACED}]+)|(?P<hangul>[{HANGUL}]+)|(?P<word>{_LETTER}+(?:['\u2019]{_LETTER}+)*)"
)
_COMPOUND = re.compile(f"{_LETTER}+(?:[-\u2010\u2011\u2013._/:@\\\\,+]{_LETTER}+)+")
_SIGNED = re.compile(f"(?<![\\w+#]){_LETTER}{{1,3}}(?:\\+{{1,2}}|#)(?![\\w+#])")
"""Names that end in signs, as C++ and C#."""
_HANGUL_PHRASE = re.compile(f"[{HANGUL}]+(?:[ \\t]+[{HANGUL}]+)*")


class Terms(NamedTuple):
    """``variants`` are other spellings of ``words``: they are found too, and do not make a text longer."""

    words: list[str]
    variants: list[str]


class Analyzer(Protocol):
    """``name`` carries a version and is stored with a collection: new terms need a new name."""

    name: str

    def terms(self, text: str) -> list[str]: ...


def analysed(analyzer: Analyzer, text: str) -> Terms:
    return analyzer.analyse(text) if isinstance(analyzer, StandardAnalyzer) else Terms(analyzer.terms(text), [])


class StandardAnalyzer:
    """Words stop-listed and stemmed, in every spelling that people use for them; scripts of the East as bigrams."""

    name = DEFAULT_ANALYZER

    def terms(self, text: str) -> list[str]:
        found = self.analyse(text)
        return [*found.words, *found.variants]

    def analyse(self, text: str) -> Terms:
        found = Terms([], [])
        normal = words.prepared(text)
        for match in _WORDS.finditer(normal):
            if match.lastgroup == "word":
                _spelled(match.group(), found)
            else:
                found.words.extend(_bigrams(match.group()))
        for compound in _COMPOUND.finditer(normal):
            found.variants.extend(_term(joined) for joined in words.compounds(compound.group()))
        found.variants.extend(words.folded_case(signed) for signed in _SIGNED.findall(normal))
        return found


class FirstAnalyzer:
    """NFKC, lower case; words stop-listed and stemmed, scripts of the East as character bigrams."""

    name = FIRST_ANALYZER

    def terms(self, text: str) -> list[str]:
        found: list[str] = []
        for match in _TERM.finditer(_normalise(text)):
            if match.lastgroup == "word":
                found.extend(_word(match.group()))
            else:
                found.extend(_bigrams(match.group()))
        return found


class KiwiAnalyzer:
    """As ``StandardAnalyzer``, but Hangul as morphemes instead of bigrams; mixing both in one field ranks worse."""

    name = KIWI_ANALYZER

    def __init__(self, tokenize: Callable[[str], list[Any]]) -> None:
        self._tokenize = tokenize

    def terms(self, text: str) -> list[str]:
        normal = _normalise(text)
        found: list[str] = []
        for match in _TERM.finditer(_HANGUL_PHRASE.sub(" ", normal)):
            found.extend(_word(match.group()) if match.lastgroup == "word" else _bigrams(match.group()))
        for phrase in _HANGUL_PHRASE.finditer(normal):
            found.extend(
                token.form for token in self._tokenize(phrase.group()) if token.tag.partition("-")[0] in KIWI_TAGS
            )
        return found


@lru_cache(maxsize=8)
@cache
def analyzer_for(name: str) -> Analyzer:
    """The analyzer a collection was created with; never a substitute for it."""
    if name == DEFAULT_ANALYZER:
        return StandardAnalyzer()
    if name == FIRST_ANALYZER:
        return FirstAnalyzer()
    if name == KIWI_ANALYZER:
        return KiwiAnalyzer(_kiwi())
    raise errors.Terminal(f"no analyzer is called {name!r}", code="UNKNOWN_ANALYZER")


@lru_cache(maxsize=100_000)
def term_id(term: str) -> int:
    """Stable across processes and releases; from 0 (pgvector's text form of a sparse vector counts from 1)."""
    return int.from_bytes(blake2b(term.encode(errors="replace"), digest_size=8).digest(), "big") % TERM_SPACE


def _kiwi() -> Callable[[str], list[Any]]:
    try:
        module = importlib.import_module("kiwipiepy")
    except ImportError as err:
        raise errors.Terminal(
            f"the analyzer {KIWI_ANALYZER!r} needs the extra 'korean' of aperag-retrieval",
            code="ANALYZER_NOT_INSTALLED",
        ) from err
    tokenize: Callable[[str], list[Any]] = module.Kiwi().tokenize
    return tokenize


def _normalise(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower()


def _bigrams(run: str) -> Iterator[str]:
    if len(run) == 1:
        yield run
    for start in range(len(run) - 1):
        yield run[start : start + 2]


def _spelled(written: str, found: Terms) -> None:
    word = words.bare(words.folded_case(written))
    if word in STOP_WORDS:
        return
    known = {_term(word)}
    found.words.extend(known)
    for spelling in words.spellings(written):
        term = _term(spelling)
        if spelling not in STOP_WORDS and term not in known:
            known.add(term)
            found.variants.append(term)


def _term(word: str) -> str:
    return _stem(word) if word.isascii() else word


def _word(word: str) -> Iterator[str]:
    plain = word.replace("\u2019", "'").removesuffix("'s")
    if plain not in STOP_WORDS:
        yield _stem(plain) if plain.isascii() else plain


# Typed here, for the package is not.
_porter: Callable[[], Any] = PorterStemmer


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    stem: str = _porter().stemWord(word)  # one of its own: it keeps the word it works on
    return stem
