"""``python -m aperag_indexer``."""

from __future__ import annotations

from aperag_common.process import run_process
from aperag_indexer.app import serve
from aperag_indexer.settings import Settings

if __name__ == "__main__":
    run_process(serve(Settings()))
