"""Reads documents in a process of the pool: a reader that crashes takes only itself along."""

from __future__ import annotations

from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from aperag_common import errors
from aperag_common.pool import ComputedTooLong
from aperag_indexer.adapters.readers import NOT_RECOGNISED, ReadLimits, read
from aperag_indexer.adapters.recognition import Recognition, installed_recognition
from aperag_indexer.reading.media import IMAGES, check_readable

if TYPE_CHECKING:
    from aperag_common.pool import ProcessPool
    from aperag_retrieval.chunking import ParsedDocument

__all__ = ["KreuzbergParser", "ReadLimits", "read"]

ADAPTER_VERSION = 4


class KreuzbergParser:
    """``timeout`` bounds one document; ``recognition`` is what the machine offers unless given."""

    def __init__(
        self,
        pool: ProcessPool,
        *,
        timeout: timedelta,
        limits: ReadLimits | None = None,
        recognition: Recognition | None = None,
    ) -> None:
        self._pool = pool
        self._timeout = timeout
        self._limits = limits or ReadLimits()
        self._recognition = installed_recognition() if recognition is None else recognition
        self.version = f"kreuzberg-{version('kreuzberg')}/{ADAPTER_VERSION}/ocr-{self._recognition.version}"

    async def parse(self, path: Path, *, name: str, owner: str = "") -> ParsedDocument:
        suffix = Path(name).suffix.lower()
        check_readable(suffix)
        seconds, limits = self._timeout.total_seconds(), self._limits
        try:
            parsed = await self._pool.run(
                read,
                str(path),
                suffix,
                limits,
                self._recognition,
                seconds=seconds,
                cpu_seconds=limits.cpu_seconds,
                owner=owner,
            )
        except ComputedTooLong as err:
            message = f"Reading the document took more than {limits.cpu_seconds} s of computing time."
            raise errors.DocumentTooLarge(f"{message} Split it and upload the parts.") from err
        except TimeoutError as err:
            message = f"Reading the document took longer than {seconds:.0f} s. Split it and upload the parts."
            raise errors.CorruptDocument(message) from err
        if not parsed.markdown.strip():
            raise self._empty(suffix, parsed)
        return parsed

    def _empty(self, suffix: str, parsed: ParsedDocument) -> errors.Terminal:
        if suffix in IMAGES or any(warning.kind == NOT_RECOGNISED for warning in parsed.warnings):
            if not self._recognition.languages:
                message = (
                    "The document is a scan or a picture, and text recognition (tesseract) is not installed here. "
                    "Install it (apt-get install tesseract-ocr) and rebuild the document, or upload it as text."
                )
                return errors.OcrMissing(message)
            message = "No text was recognised in the document. Upload a sharper scan, or a description as text."
            return errors.EmptyDocument(message)
        return errors.EmptyDocument("The document holds no text to index.")
