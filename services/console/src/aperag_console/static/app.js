// What every page does: events, keyboard, small conveniences of forms. Everything works without it, but not live.
import { start } from "./live.js";

const GOES = { h: "/", c: "/collections", s: "/search", t: "/chats", b: "/bots", e: "/events", j: "/jobs" };
let going = 0;

document.addEventListener("keydown", (event) => {
  const writing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.target.matches("[data-submit-on-enter]")) {
    event.preventDefault();
    event.target.form.requestSubmit();
    return;
  }
  if ((event.key === "Enter" || event.key === " ") && event.target.matches("[data-picks]")) {
    event.preventDefault();
    event.target.querySelector("input").click();
  }
  if (event.key === "Escape" && writing) writing.blur();
  const finding = (event.key === "k" && (event.metaKey || event.ctrlKey)) || (event.key === "/" && !writing);
  if (finding) {
    event.preventDefault();
    document.getElementById("find")?.focus();
  }
  if (writing || event.metaKey || event.ctrlKey || event.altKey) return;
  if (Date.now() - going < 1200 && GOES[event.key]) location.assign(GOES[event.key]);
  going = event.key === "g" ? Date.now() : 0;
});

document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm;
  if (question && !window.confirm(question)) {
    event.preventDefault();
    return;
  }
  // A question that is sent twice by an impatient click is one question.
  const form = event.target;
  if (form.matches(".ask")) {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "1";
  }
});

document.addEventListener("change", ({ target }) => {
  if (target.matches("[data-submit-on-change]")) target.form.requestSubmit();
  if (target.matches("[data-tick-all]")) {
    for (const box of target.form.querySelectorAll("tbody input[type=checkbox]")) box.checked = target.checked;
  }
});

addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll(".ask")) delete form.dataset.sent;
});

// What the place of a citation is in, is seen at once, below the bar.
if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView({ block: "center" });

start();
