// A turn while it is answered. A lost stream is opened again and tells the turn from its beginning.
import { refresh } from "./live.js";
import { Refused, events, pause } from "./sse.js";

const turns = document.getElementById("turns");
const atEnd = () => turns.scrollHeight - turns.scrollTop - turns.clientHeight < 120;
const toEnd = () => turns.scrollTo(0, turns.scrollHeight);

const attached = document.querySelector("[data-attached]");
document.querySelector(".talk input[type=file]")?.addEventListener("change", ({ target }) => {
  attached.textContent = [...target.files].map((it) => it.name).join(", ");
});

if (turns) {
  if (!location.hash || location.hash === "#end") toEnd();
  for (const turn of turns.querySelectorAll("[data-open]")) follow(turn);
}

async function follow(turn) {
  const state = turn.querySelector("[data-state]");
  const answering = state.textContent;
  const answer = turn.querySelector("[data-answer]");
  const tools = turn.querySelector("[data-tools]");
  turn.querySelector("[data-stop]").addEventListener("click", ({ currentTarget }) => {
    currentTarget.disabled = true;
    fetch(currentTarget.dataset.stop, { method: "POST" });
  });
  for (let tries = 0; ; tries += 1) {
    try {
      for await (const told of events(turn.dataset.open)) {
        tries = 0;
        state.textContent = answering;
        if (told.event === "end") return finish();
        if (told.data) show(told.event, JSON.parse(told.data), answer, tools);
      }
    } catch (failure) {
      if (failure instanceof Refused && failure.status < 500) return finish();
    }
    state.textContent = state.dataset.lost;
    await pause(tries);
  }
}

function show(event, data, answer, tools) {
  const follows = atEnd();
  if (event === "start") {
    answer.replaceChildren();
    tools.replaceChildren();
  } else if (event === "answer") {
    while (answer.children.length > data.from) answer.lastElementChild.remove();
    // Rendered by the server from text, in which HTML is off.
    for (const block of data.blocks) answer.insertAdjacentHTML("beforeend", block);
  } else if (event === "tool") {
    const known = [...tools.children].find((it) => it.dataset.call === data.id);
    const row = known ?? tools.appendChild(document.createElement("li"));
    row.dataset.call = data.id;
    row.className = data.failed ? "failed" : data.text ? "" : "running";
    row.textContent = data.text || data.name;
  }
  if (follows) toEnd();
}

// The passages, and what there is to press, come with the page as it is now.
async function finish() {
  const follows = atEnd();
  await refresh("#turns");
  if (follows) toEnd();
}
