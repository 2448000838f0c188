"""Text in pictures and scans, where tesseract is installed on the machine."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from functools import cache

import structlog

log = structlog.get_logger(__name__)

LANGUAGES = ("eng", "kor", "chi_sim", "chi_tra", "jpn")
"""What is recognised where its data is installed; each further language costs time on every page."""
SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Recognition:
    """``languages`` in tesseract's form, as ``eng+kor``; empty where nothing can be recognised."""

    languages: str = ""

    @property
    def version(self) -> str:
        return self.languages or "none"


@cache
def installed_recognition() -> Recognition:
    """Asked once per process: what is installed later counts from the next start on."""
    program = shutil.which("tesseract")
    if program is None:
        return Recognition()
    try:
        asked = subprocess.run([program, "--list-langs"], capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as err:
        log.warning("tesseract.unusable", error=repr(err))
        return Recognition()
    available = set(asked.stdout.split())
    return Recognition("+".join(language for language in LANGUAGES if language in available))
