// One event stream for all tabs of a person: browsers open few connections to one site.
import { follow } from "./follow.js";

const ports = new Set();
let state = { state: "connecting" };

self.onconnect = ({ ports: [port] }) => {
  ports.add(port);
  port.postMessage(state);
  port.onmessage = ({ data }) => {
    if (data === "bye") ports.delete(port);
  };
};

follow((told) => {
  if (told.state) {
    if (told.state === state.state) return;
    state = told;
  }
  for (const port of ports) port.postMessage(told);
  if (told.state === "out") self.close();
});
