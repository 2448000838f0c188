// Usage: node check.cjs FILE. Prints what the parser says of the document; fails where it is no AsyncAPI document.
const { readFileSync } = require("fs");
const { Parser } = require("@asyncapi/parser");

const ERROR = 0;

new Parser().parse(readFileSync(process.argv[2], "utf8")).then(({ document, diagnostics }) => {
  for (const it of diagnostics) console.log(it.severity, it.code, it.path.join("/"), it.message);
  console.log(document ? `${document.channels().all().length} channels` : "no document");
  process.exitCode = document && !diagnostics.some((it) => it.severity === ERROR) ? 0 : 1;
});
