// The tail of the person's events: rows come rendered, from where the page ends. Paused, the stream is closed and what
// happens meanwhile is counted; it is opened again at the same position, so nothing is missed and no tab holds a
// connection that nobody looks at.
import { Refused, events, pause } from "./sse.js";

const list = document.getElementById("events");
const state = document.getElementById("tail");
const button = document.getElementById("pause");
const { type, collection, most, liveFrom } = list.dataset;
const behind = "behind" in list.dataset;
let { after } = list.dataset;
let held = false;
let away = false;
let open = null;
let rows = [];
const waiting = new Set();

const paused = () => held || (away && !behind);
const known = (id) => list.querySelector(`[data-key="${CSS.escape(id)}"]`);

function show(name) {
  const count = waiting.size;
  state.hidden = button.hidden = false;
  state.className = `pill ${{ runs: "good", lost: "wait", paused: "wait" }[name]}`;
  state.textContent = name === "paused" && count ? state.dataset.waiting.replace("{n}", count) : state.dataset[name];
  button.textContent = held ? button.dataset.resume : button.dataset.pause;
}

function add(html) {
  if (rows.push(html) === 1) requestAnimationFrame(flush); // waits while the tab is hidden
  if (rows.length > most) rows.shift();
}

function flush() {
  const fresh = rows;
  rows = [];
  const part = document.createElement("template");
  part.innerHTML = fresh.reverse().join(""); // rendered by our server, which escapes what others wrote
  for (const row of [...part.content.children]) if (known(row.dataset.key)) row.remove();
  list.prepend(part.content);
  while (list.children.length > most) list.lastElementChild.remove();
  document.getElementById("none").hidden = list.children.length > 0;
}

async function run(mine) {
  for (let tries = 0; open === mine; tries += 1) {
    try {
      for await (const told of events(liveFrom, { after, signal: mine.signal })) {
        if (open !== mine) return;
        tries = 0;
        after = told.id || after;
        show("runs");
        if (told.event === "reset") location.reload();
        if (told.event === "row") add(JSON.parse(told.data));
      }
    } catch (failure) {
      if (failure instanceof Refused && failure.status === 401) location.reload(); // the sign-in, and back here
    }
    if (open !== mine) return;
    show("lost");
    await pause(tries);
  }
}

function change() {
  if (paused()) {
    open?.abort();
    open = null;
    show("paused");
  } else if (!open) {
    waiting.clear();
    open = new AbortController();
    run(open);
  }
}

function concerns({ event, data }) {
  const typed = type.endsWith(".*") ? event.startsWith(type.slice(0, -1)) : !type || type === event;
  return typed && (!collection || collection === data.data?.collection_id);
}

document.addEventListener("told", ({ detail }) => {
  if (!paused() || !detail.data?.id || !concerns(detail) || known(detail.data.id)) return;
  waiting.add(detail.data.id);
  show("paused");
});
button.addEventListener("click", () => {
  held = !held;
  change();
});
addEventListener("blur", () => {
  away = true;
  change();
});
addEventListener("focus", () => {
  away = false;
  change();
});
document.addEventListener("visibilitychange", () => {
  away = document.hidden || !document.hasFocus();
  change();
});

away = document.hidden;
change();
