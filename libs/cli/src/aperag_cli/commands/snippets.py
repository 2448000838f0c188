"""How clients of NATS are told to connect, in the words of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HIDDEN = "<the API key>"


@dataclass(frozen=True, slots=True)
class Connection:
    """``ca_file`` names the authority of the servers' certificate, where they speak TLS with one of their own."""

    servers: tuple[str, ...]
    key: str = field(repr=False)
    inbox_prefix: str
    owner: str
    ca_file: str | None

    @property
    def url(self) -> str:
        return ",".join(self.servers)

    @property
    def events(self) -> str:
        return f"aperag.evt.{self.owner}.>"

    def context(self, *, hidden: bool = False) -> dict[str, Any]:
        """A context file of the nats command line."""
        made: dict[str, Any] = {
            "description": "ApeRAG",
            "url": self.url,
            "token": HIDDEN if hidden else self.key,
            "inbox_prefix": self.inbox_prefix,
        }
        return made if self.ca_file is None else made | {"ca": self.ca_file}

    def options(self) -> str:
        """The same as options of the nats command line."""
        ca = "" if self.ca_file is None else f" --tlsca {self.ca_file}"
        return f"nats --server {self.url} --token $APERAG_API_KEY --inbox-prefix {self.inbox_prefix}{ca}"


def python(it: Connection) -> str:
    tls = "" if it.ca_file is None else f', tls=ssl.create_default_context(cafile="{it.ca_file}")'
    servers = ", ".join(f'"{server}"' for server in it.servers)
    return f"""\
import asyncio, os{", ssl" if tls else ""}
import nats  # pip install nats-py

async def main():
    nc = await nats.connect([{servers}], token=os.environ["APERAG_API_KEY"], inbox_prefix="{it.inbox_prefix}"{tls})
    events = await nc.subscribe("{it.events}")
    async for message in events.messages:
        print(message.subject, message.data.decode(), flush=True)

asyncio.run(main())"""


def go(it: Connection) -> str:
    tls = "" if it.ca_file is None else f', nats.RootCAs("{it.ca_file}")'
    return f"""\
package main

import (
    "fmt"
    "log"
    "os"

    "github.com/nats-io/nats.go" // go get github.com/nats-io/nats.go
)

func main() {{
    nc, err := nats.Connect("{it.url}", nats.Token(os.Getenv("APERAG_API_KEY")), nats.CustomInboxPrefix("{it.inbox_prefix}"){tls})
    if err != nil {{
        log.Fatal(err)
    }}
    nc.Subscribe("{it.events}", func(m *nats.Msg) {{ fmt.Println(m.Subject, string(m.Data)) }})
    select {{}}
}}"""


def javascript(it: Connection) -> str:
    tls = "" if it.ca_file is None else f',\n  tls: {{ caFile: "{it.ca_file}" }}'
    servers = ", ".join(f'"{server}"' for server in it.servers)
    return f"""\
import {{ connect }} from "nats"; // npm install nats

const nc = await connect({{
  servers: [{servers}],
  token: process.env.APERAG_API_KEY,
  inboxPrefix: "{it.inbox_prefix}"{tls},
}});
for await (const message of nc.subscribe("{it.events}")) {{
  console.log(message.subject, message.string());
}}"""


SNIPPETS: Mapping[str, Callable[[Connection], str]] = {"python": python, "go": go, "javascript": javascript}
