// The person's events for as long as they are wanted: a lost stream is opened again where it ended.
import { Refused, events, pause } from "./sse.js";

export async function follow(tell) {
  let after = "";
  for (let tries = 0; ; tries += 1) {
    try {
      for await (const told of events("/live", { after })) {
        tries = 0;
        after = told.id || after;
        tell({ state: "open" });
        if (told.data) tell({ event: told.event, data: JSON.parse(told.data) });
      }
    } catch (failure) {
      if (failure instanceof Refused && failure.status === 401) {
        tell({ state: "out" });
        return;
      }
    }
    tell({ state: "lost" });
    await pause(tries);
  }
}
