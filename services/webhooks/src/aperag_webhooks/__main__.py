"""``python -m aperag_webhooks``."""

from __future__ import annotations

from aperag_common.process import run_process
from aperag_webhooks.app import serve
from aperag_webhooks.settings import Settings

if __name__ == "__main__":
    run_process(serve(Settings()))
