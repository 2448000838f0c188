"""What a flow's model is asked; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_agent.tools.findings import Passage
    from aperag_agent.tools.framing import Framing

_PLACES = re.compile(r"\{(query|context)\}")
DEFAULT = """\
{context}

Answer the question with what stands in the material above, and cite its passages as [1], [2]. Where it does not hold \
the answer, say so. Answer in the language of the question.

Question: {query}
"""
DEFAULT_WITHOUT_MATERIAL = "{query}"
NOTHING = "(nothing was found)"


def prompt(template: str, query: str, passages: Sequence[Passage], framing: Framing) -> str:
    """``{query}`` and ``{context}`` are filled in and nothing else: what stands in a document is no template."""
    template = template or (DEFAULT if passages else DEFAULT_WITHOUT_MATERIAL)
    context = framing.frame("\n\n".join(map(_numbered, passages)) or NOTHING)
    return _PLACES.sub(lambda place: query if place[1] == "query" else context, template)


def _numbered(passage: Passage) -> str:
    source = f" {passage.source}" if passage.source else ""
    return f"[{passage.number}]{source}\n{passage.text}"
