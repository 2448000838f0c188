// Server-sent events over fetch: unlike EventSource it says why a stream did not open, and sends the last position.

export class Refused extends Error {
  constructor(status) {
    super(`status ${status}`);
    this.status = status;
  }
}

// Yields {id, event, data}; ends when the stream does.
export async function* events(url, { after = "", signal } = {}) {
  const headers = { Accept: "text/event-stream", ...(after ? { "Last-Event-ID": after } : {}) };
  const answer = await fetch(url, { headers, signal });
  if (!answer.ok) throw new Refused(answer.status);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const frames = (rest + value).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      const read = parsed(frame);
      if (read) yield read;
    }
  }
}

function parsed(frame) {
  const told = { id: "", event: "message", data: "" };
  for (const line of frame.split("\n")) {
    const colon = line.indexOf(":");
    if (colon < 1) continue;
    const field = line.slice(0, colon);
    const value = line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") told.data += (told.data ? "\n" : "") + value;
    else if (field === "id" || field === "event") told[field] = value;
  }
  return told.data || told.id ? told : null;
}

// How long to wait before the next try: longer each time, never the same for all tabs.
export const pause = (tries) =>
  new Promise((done) => setTimeout(done, Math.min(500 * 2 ** tries, 10000) * (0.5 + Math.random() / 2)));
