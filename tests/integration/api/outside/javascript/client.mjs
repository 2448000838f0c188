// What another service does with a key, in one go; prints what came of it as JSON.
import { connect } from "nats";

const { SERVER, APERAG_API_KEY, INBOX_PREFIX, OWNER, STREAM, CONSUMER } = process.env;
const found = { refused: [] };

const nc = await connect({ servers: SERVER, token: APERAG_API_KEY, inboxPrefix: INBOX_PREFIX });
(async () => {
  for await (const status of nc.status()) {
    if (status.permissionContext) found.refused.push(status.permissionContext.subject);
  }
})();

const live = nc.subscribe(`aperag.evt.${OWNER}.>`, { max: 1 });
await nc.flush();
console.log("subscribed");
for await (const message of live) found.live = message.subject;

const consumer = await nc.jetstream().consumers.get(STREAM, CONSUMER);
const message = await consumer.next({ expires: 5_000 });
found.pulled = message.subject;
await message.ackAck();
found.pending = (await consumer.info()).num_ack_pending;

const ack = await nc.jetstream().publish(`aperag.ingest.${OWNER}.col1`, "{}");
found.published = ack.stream;

nc.publish("aperag.cmd.document.parse", "{}");
for (let left = 500; left > 0 && found.refused.length === 0; left--) {
  await new Promise((told) => setTimeout(told, 10));
}
console.log(JSON.stringify(found));
await nc.close();
