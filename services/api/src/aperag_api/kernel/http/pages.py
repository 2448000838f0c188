"""Pages for people at the gateway itself: without scripts, and nothing of them comes from another server."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, StrictUndefined

# The console's colours, which is another service with files of its own.
STYLE = """\
:root{color-scheme:light dark;--ground:light-dark(#f7f6f3,#0e1011);--surface:light-dark(#fff,#151819);
--line:light-dark(#e4e2dc,#262b2e);--ink:light-dark(#1a1a18,#ecedee);--soft:light-dark(#55544f,#a9afb3);
--accent:light-dark(#0b7466,#43d1b3)}
body{font:16px/1.5 Inter,system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
background:var(--ground);color:var(--ink)}
a{color:var(--accent)}code,pre{font-family:ui-monospace,monospace;font-size:.875em;overflow-wrap:anywhere}
details{background:var(--surface);border:1px solid var(--line);border-radius:.6rem;padding:.4rem .8rem;margin:.4rem 0}
summary{cursor:pointer}pre{overflow-x:auto}.soft{color:var(--soft)}
table{border-collapse:collapse;margin:.6rem 0}td,th{padding:.2rem 1rem .2rem 0;text-align:left;vertical-align:top}
"""
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


def rendered(package: str, template: str, **values: Any) -> str:
    """``template`` is a file of ``package``; it is given ``style`` as well."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    source = resources.files(package).joinpath(template).read_text("utf-8")
    return environment.from_string(source).render(style=STYLE, **values)


def answered(page: str) -> HTMLResponse:
    return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})
