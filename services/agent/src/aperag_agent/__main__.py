"""``python -m aperag_agent``."""

from __future__ import annotations

import asyncio

from aperag_agent.app import serve
from aperag_agent.settings import Settings

if __name__ == "__main__":
    asyncio.run(serve(Settings()))
