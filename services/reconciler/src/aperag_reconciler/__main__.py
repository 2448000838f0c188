"""``python -m aperag_reconciler``."""

from __future__ import annotations

import asyncio

from aperag_reconciler.app import serve
from aperag_reconciler.settings import Settings

if __name__ == "__main__":
    asyncio.run(serve(Settings()))
