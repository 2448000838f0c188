"""``python -m aperag_indexer``."""

from __future__ import annotations

import asyncio

from aperag_indexer.app import serve
from aperag_indexer.settings import Settings

if __name__ == "__main__":
    asyncio.run(serve(Settings()))
