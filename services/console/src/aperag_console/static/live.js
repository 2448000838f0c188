// Keeps the parts of a page that say [data-live] as the server would render them now.
import { follow } from "./follow.js";
import { morph } from "./morph.js";

const GAP = 400; // at most one refresh in so many milliseconds
let timer = 0;
let last = 0;
let stale = false;
let lostOnce = false;

export async function refresh(selector = "[data-live]") {
  last = Date.now();
  stale = false;
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!answer?.ok || answer.redirected) {
    stale = true; // told again when the gateway is back
    return;
  }
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll(selector)) {
    const now = fresh.getElementById(part.id);
    if (now) morph(part, now);
  }
}

function concerns(part, told) {
  const [aggregate] = told.event.split(".");
  const { collection, document: id } = part.dataset;
  const about = told.data.data ?? {};
  return (
    part.dataset.live.split(" ").includes(aggregate) &&
    (!collection || collection === about.collection_id) &&
    (!id || id === about.document_id)
  );
}

function schedule() {
  stale = true;
  if (document.hidden || timer) return;
  timer = setTimeout(() => {
    timer = 0;
    refresh();
  }, Math.max(60, GAP - (Date.now() - last)));
}

function show(state) {
  const sign = document.getElementById("live");
  if (!sign || !(state in sign.dataset)) return;
  sign.dataset.state = state;
  sign.textContent = sign.dataset[state];
}

function take(told) {
  if (told.state === "out") location.reload(); // the sign-in, and back here afterwards
  if (told.state) {
    show(told.state);
    if (told.state === "lost") lostOnce = true;
    if (told.state === "open" && lostOnce) {
      lostOnce = false;
      schedule(); // what is not told by events may have changed too
    }
    return;
  }
  document.dispatchEvent(new CustomEvent("told", { detail: told }));
  const parts = [...document.querySelectorAll("[data-live]")];
  if (told.event === "reset" || parts.some((part) => concerns(part, told))) schedule();
}

export function start() {
  const { user, liveScript } = document.body.dataset;
  if (!user) return;
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && stale) schedule();
  });
  if (!("SharedWorker" in window)) {
    follow(take);
    return;
  }
  // Named after the person: whoever signs in next gets a stream of their own.
  const { port } = new SharedWorker(liveScript, { type: "module", name: user });
  port.onmessage = ({ data }) => take(data);
  addEventListener("pagehide", () => port.postMessage("bye"));
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
}
