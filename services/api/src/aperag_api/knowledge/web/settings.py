"""How the web is searched and read."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, PositiveInt, SecretStr

from aperag_common.settings import Block

MIB = 1024 * 1024


class WebSettings(Block):
    """Without a key of Jina's, DuckDuckGo is searched and pages are read by the gateway itself."""

    user_agent: str = Field(
        "ApeRAG/0.1", min_length=1, description="name that sites are told; robots.txt is read for the part before the /"
    )
    jina_api_key: SecretStr | None = Field(
        None, description="key for Jina, which then searches and reads first; queries and addresses go there"
    )
    jina_search_url: str = Field("https://s.jina.ai/", description="address of Jina's search")
    jina_reader_url: str = Field("https://r.jina.ai/", description="address of Jina's reader")
    duckduckgo_url: str = Field("https://html.duckduckgo.com/html/", description="address of DuckDuckGo's page")
    max_concurrent_pages: PositiveInt = Field(16, description="pages read at a time, for all callers together")
    max_page_bytes: PositiveInt = Field(2 * MIB, description="largest page read, unpacked, in bytes")
    max_page_characters: PositiveInt = Field(MIB, description="text kept of one page; what is more is cut off")
    parse_processes: PositiveInt = Field(2, description="processes that pages are taken apart in, started on demand")
    parse_timeout: timedelta = Field(timedelta(seconds=20), description="longest that one page is taken apart")
    robots_kept: timedelta = Field(timedelta(hours=1), description="how long a site's robots.txt is remembered")
