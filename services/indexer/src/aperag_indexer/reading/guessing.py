"""Which legacy encoding bytes are in: a detector's ranking of a closed list, less what makes no sense as text."""

from __future__ import annotations

import re
import unicodedata
import warnings
from typing import TYPE_CHECKING

import chardet

from aperag_common import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

# What programs still write, with how likely each is before a byte is read. A longer list finds exotic encodings, most of
# the time where there are none.
_LIKELY = {
    "cp1252": 1.6,
    "cp1250": 1.0,
    "cp1251": 1.0,
    "koi8-r": 0.3,
    "cp1253": 1.0,
    "cp1254": 0.9,
    "cp1255": 1.0,
    "cp1256": 0.8,
    "cp1257": 0.4,
    "cp874": 0.4,
    "cp949": 1.0,
    "gb18030": 1.0,
    "cp932": 1.0,
    "euc_jis_2004": 0.6,
    "big5hkscs": 0.8,
}
_LATIN = "A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff"
_OTHER = "\u0370-\u1dff"
"""Greek, Cyrillic, Hebrew, Arabic, Thai … : alphabets, whose letters never stand inside a Latin word."""
_MIXED = re.compile(f"[{_LATIN}][{_OTHER}]|[{_OTHER}][{_LATIN}]")
_LONE = re.compile(f"(?<![{_OTHER}])[{_OTHER}](?![{_OTHER}])")
_LONG = re.compile(f"[{_OTHER}]{{2}}")
_IMPLAUSIBLE = re.compile("[\x80-\x9f\ue000-\uf8ff]")
_SIGNS = re.compile("[\u02c7-\u02dd\u2500-\u259f]")
"""Boxes and accents without a letter: what is left where an alphabet is the wrong one."""
_MOST_ODD = 0.01
_ALPHABETS = frozenset(name for name in _LIKELY if name.startswith(("cp125", "koi8", "cp874")))
_CAPITALS_WITHIN = 2000
"""Detectors learned from running text and know few words in capitals; asking again costs time."""
_COMMON_HAN = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种"
    "事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公"
    "此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特"
    "代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数"
    "安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达光"
    "放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传师观清今切院让识候带导争运笔"
    "票姓号址话购货单价款请填写称额期退换订客服户税合同编码议录表格北京市朝阳县省街楼室邮箱李王刘陈杨赵黄周吴"
)
_COMMON_HANGUL = frozenset(
    "이다는을의에가고로한하지은를도과와서사기인대해일어나자그수시으리있정부라여적들었보전것구아장제만스성원주상년위조국"
    "동경안선연공거면러계유산소화분게관말때당생신무물회오방방간문미세교우중까모요니체비진치트에품반번호서금계약객납문"
)


_COMMON = {"gb18030": ("[\u4e00-\u9fff]", _COMMON_HAN), "cp949": ("[\uac00-\ud7a3]", _COMMON_HANGUL)}
"""Both encodings use the same bytes: only what is often written tells them apart in a short text."""


def guess(sample: bytes) -> str:
    """Raises ``CorruptDocument`` where no encoding gives text that makes sense."""
    found = max(_scored(sample), default=None)
    if found is None:
        message = "The document is not text in any encoding we know. Save it as UTF-8 and upload it again."
        raise errors.CorruptDocument(message)
    return found[1]


def _scored(sample: bytes) -> Iterator[tuple[float, str]]:
    confidence = _confidence(sample)
    for encoding, likely in _LIKELY.items():
        text = sample.decode(encoding, errors="replace")
        if not _makes_sense(text, encoding):
            continue
        found = confidence.get(encoding, 0.0)
        if "\ufffd" in text:  # the detector knows no damaged text
            found = _confidence(text.replace("\ufffd", "").encode(encoding)).get(encoding, 0.0)
        elif encoding in _ALPHABETS and len(sample) <= _CAPITALS_WITHIN and text.isupper():
            found = _confidence(text.lower().encode(encoding, errors="ignore")).get(encoding, 0.0)
        yield likely * found * _familiar(text, encoding), encoding


def _confidence(sample: bytes) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a fallback of the detector's own is not in the list
        ranked = chardet.detect_all(sample, ignore_threshold=True, include_encodings=list(_LIKELY), compat_names=False)
    return {str(one["encoding"]).lower(): float(one["confidence"] or 0.0) for one in ranked}


def _makes_sense(text: str, encoding: str) -> bool:
    """In the wrong encoding most words hold something that no word holds; in the right one, hardly any."""
    foreign = sum(character > "\x7f" for character in text)
    odd = text.count("\ufffd") + len(_IMPLAUSIBLE.findall(text))
    if encoding in _ALPHABETS:
        odd += len(_SIGNS.findall(text)) + len(_MIXED.findall(text))
        if _LONE.search(text) and not _LONG.search(text):
            return False
    odd += sum(text.count(character) for character in set(text) if unicodedata.category(character) == "Cn")
    return odd <= _MOST_ODD * foreign


def _familiar(text: str, encoding: str) -> float:
    if encoding not in _COMMON:
        return 1.0
    letters, common = _COMMON[encoding]
    found = re.findall(letters, text)
    return 0.3 + 1.4 * sum(letter in common for letter in found) / len(found) if found else 1.0
