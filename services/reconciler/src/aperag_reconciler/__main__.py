"""``python -m aperag_reconciler``."""

from __future__ import annotations

from aperag_common.process import run_process
from aperag_reconciler.app import serve
from aperag_reconciler.settings import Settings

if __name__ == "__main__":
    run_process(serve(Settings()))
