// Files and folders that are dropped or chosen: each is sent by itself, and followed until it is searchable.
import { refresh } from "./live.js";

const AT_A_TIME = 3;
const waiting = [];
const rows = new Map(); // by document
let sending = 0;
let address = null;

const zones = [...document.querySelectorAll("[data-upload]")];
for (const zone of zones) prepare(zone);

function prepare(zone) {
  for (const part of zone.querySelectorAll("[data-script-only]")) part.hidden = false;
  for (const label of zone.querySelectorAll("[data-picks]")) {
    label.querySelector("input").addEventListener("change", ({ target }) => {
      add(zone, [...target.files]);
      target.value = "";
    });
  }
  // The whole page takes them: nobody has to aim.
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) zone.classList.remove("over");
  });
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    add(zone, (await Promise.all(entries.map(within))).flat());
  });
}

async function within(entry) {
  if (entry.isFile) return [await new Promise((done, failed) => entry.file(done, failed))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) break;
    found.push(...some);
  }
  return (await Promise.all(found.map(within))).flat();
}

function add(zone, files) {
  const list = document.querySelector("[data-uploads]");
  list.hidden = false;
  for (const file of files.filter((it) => !it.name.startsWith("."))) {
    const row = document.createElement("li");
    const name = Object.assign(document.createElement("span"), { className: "name", textContent: file.name });
    const state = Object.assign(document.createElement("span"), { className: "pill wait", textContent: zone.dataset.waiting });
    const bar = Object.assign(document.createElement("progress"), { max: 1, value: 0 });
    row.append(name, state, bar);
    list.prepend(row);
    waiting.push({ zone, file, row, name, state, bar });
  }
  next();
}

async function target(zone) {
  if (!zone.dataset.create) return zone.dataset.upload;
  address ??= fetch(zone.dataset.create, { method: "POST" }).then((answer) => answer.json());
  return (await address).upload;
}

function next() {
  while (sending < AT_A_TIME && waiting.length) {
    sending += 1;
    send(waiting.shift()).finally(() => {
      sending -= 1;
      next();
    });
  }
}

async function send(job) {
  say(job, "busy", job.zone.dataset.sending);
  const url = await target(job.zone).catch(() => null);
  if (!url) return fail(job, job.zone.dataset.lost);
  const body = new FormData();
  body.append("files", job.file, job.file.name);
  const request = new XMLHttpRequest(); // fetch does not tell how much of a request has gone
  request.upload.onprogress = ({ loaded, total }) => {
    job.bar.max = total;
    job.bar.value = loaded;
  };
  await new Promise((done) => {
    request.onloadend = done;
    request.open("POST", url);
    request.setRequestHeader("Accept", "application/json");
    request.send(body);
  });
  let answer = {};
  try {
    answer = JSON.parse(request.responseText);
  } catch {
    // Told below.
  }
  if (request.status !== 200) return fail(job, answer.message || job.zone.dataset.lost);
  accept(job, url, answer.items[0]);
}

function accept(job, url, document_) {
  const link = Object.assign(document.createElement("a"), { href: `${url}/${document_.id}`, textContent: job.file.name });
  job.name.replaceChildren(link);
  job.bar.remove();
  rows.set(document_.id, job);
  if (document_.status === "COMPLETE") say(job, "good", job.zone.dataset.searchable);
  else say(job, "wait", job.zone.dataset.accepted);
  refresh();
}

function fail(job, reason) {
  job.bar.remove();
  say(job, "bad", job.zone.dataset.failed);
  job.row.append(Object.assign(document.createElement("p"), { className: "reason", textContent: reason }));
}

function say(job, look, text) {
  job.state.className = `pill ${look}`;
  job.state.textContent = text;
}

document.addEventListener("told", ({ detail: { event, data } }) => {
  const about = data.data ?? {};
  const job = rows.get(about.document_id);
  if (!job) return;
  job.reason = about.error_message || job.reason; // of the stage that failed; the last event only says that one did
  if (about.outcome && event !== "document.superseded") {
    if (about.outcome === "SUCCESS") say(job, "good", job.zone.dataset.searchable);
    else fail(job, job.reason || job.zone.dataset.failed);
    rows.delete(about.document_id);
  } else {
    say(job, "busy", job.zone.dataset.working);
  }
});
