// Makes one element like another and leaves alone what a person is doing in it: focus, ticks, texts, what is unfolded.

const KEPT = new Set(["open"]);
const key = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.dataset?.key || node.id || "" : "");
const alike = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName && key(one) === key(other);

export function morph(before, after) {
  if (before.nodeType !== Node.ELEMENT_NODE) {
    if (before.nodeValue !== after.nodeValue) before.nodeValue = after.nodeValue;
    return;
  }
  if (before.isEqualNode(after)) return;
  attributes(before, after);
  if (before === document.activeElement && before.matches("input, textarea, select")) return;
  children(before, after);
}

function attributes(before, after) {
  for (const { name } of [...before.attributes]) {
    if (!after.hasAttribute(name) && !KEPT.has(name)) before.removeAttribute(name);
  }
  for (const { name, value } of after.attributes) {
    if (!KEPT.has(name) && before.getAttribute(name) !== value) before.setAttribute(name, value);
  }
}

function children(before, after) {
  let here = before.firstChild;
  for (const wanted of [...after.childNodes]) {
    let found = here;
    while (found && !alike(found, wanted)) found = found.nextSibling;
    if (found && (found === here || key(wanted))) {
      if (found !== here) before.insertBefore(found, here);
      else here = here.nextSibling;
      morph(found, wanted);
    } else {
      before.insertBefore(document.importNode(wanted, true), here);
    }
  }
  while (here) {
    const next = here.nextSibling;
    here.remove();
    here = next;
  }
}
