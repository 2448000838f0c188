"""``python -m aperag_agent``."""

from __future__ import annotations

from aperag_agent.app import serve
from aperag_agent.settings import Settings
from aperag_common.process import run_process

if __name__ == "__main__":
    run_process(serve(Settings()))
