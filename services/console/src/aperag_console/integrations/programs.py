"""What a client of NATS is told to connect by, in the words of each; pure."""

from __future__ import annotations

import json
from string import Template
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

CA_FILE = "nats-ca.pem"
"""Where the authority of the servers' certificate is kept, where they speak TLS with one of their own."""

_SHELL = Template("""\
export APERAG_API_KEY=sk-…
nats --server $url --token "$$APERAG_API_KEY" --inbox-prefix $inbox$tls subscribe '$events'

# or as a context of the nats command line
aperag nats context --save aperag$ca_option
nats --context aperag subscribe '$events'""")
_PYTHON = Template("""\
import asyncio, os$imports
import nats  # pip install nats-py

async def main():
    nc = await nats.connect([$servers], token=os.environ["APERAG_API_KEY"], inbox_prefix="$inbox"$tls)
    events = await nc.subscribe("$events")
    async for message in events.messages:
        print(message.subject, message.data.decode(), flush=True)

asyncio.run(main())""")
_GO = Template("""\
package main

import (
    "fmt"
    "log"
    "os"

    "github.com/nats-io/nats.go" // go get github.com/nats-io/nats.go
)

func main() {
    nc, err := nats.Connect("$url", nats.Token(os.Getenv("APERAG_API_KEY")), nats.CustomInboxPrefix("$inbox")$tls)
    if err != nil {
        log.Fatal(err)
    }
    nc.Subscribe("$events", func(m *nats.Msg) { fmt.Println(m.Subject, string(m.Data)) })
    select {}
}""")
_JAVASCRIPT = Template("""\
import { connect } from "nats"; // npm install nats

const nc = await connect({
  servers: [$servers],
  token: process.env.APERAG_API_KEY,
  inboxPrefix: "$inbox"$tls,
});
for await (const message of nc.subscribe("$events")) {
  console.log(message.subject, message.string());
}""")
_TLS = {
    "shell": f" --tlsca {CA_FILE}",
    "python": f', tls=ssl.create_default_context(cafile="{CA_FILE}")',
    "go": f', nats.RootCAs("{CA_FILE}")',
    "javascript": f',\n  tls: {{ caFile: "{CA_FILE}" }}',
}
_PROGRAMS = {"shell": _SHELL, "python": _PYTHON, "go": _GO, "javascript": _JAVASCRIPT}


def programs(access: Mapping[str, Any]) -> dict[str, str]:
    """By client, from the gateway's answer to the key that they are to connect with."""
    own = access["authority"] is not None
    values = {
        "url": ",".join(access["servers"]),
        "servers": ", ".join(json.dumps(it) for it in access["servers"]),
        "inbox": access["inbox_prefix"],
        "events": f"aperag.evt.{access['owner']}.>",
        "imports": ", ssl" if own else "",
        "ca_option": f" --ca-file {CA_FILE}" if own else "",
    }
    return {name: text.substitute(values, tls=_TLS[name] if own else "") for name, text in _PROGRAMS.items()}
