"""Text recognition on this machine, which only scans and pictures need."""

from __future__ import annotations

import shutil
import subprocess

SECONDS = 10.0


def describe() -> str:
    """One line: tesseract with its languages, or what to install."""
    program = shutil.which("tesseract")
    if program is None:
        return (
            "tesseract is not installed (apt-get install tesseract-ocr): scans and pictures will fail with OCR_MISSING"
        )
    try:
        asked = subprocess.run([program, "--list-langs"], capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return "tesseract does not answer: scans and pictures will fail with OCR_MISSING"
    languages = [line for line in asked.stdout.split("\n")[1:] if line and line != "osd"]
    return f"tesseract with {', '.join(languages) or 'no languages'}"
