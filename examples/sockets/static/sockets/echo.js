// The exchange as bubbles: what was sent on the right, what came back on the left, what happened in between.

import { Line } from "./socket.js";

const log = document.querySelector("[data-log]");
const form = document.querySelector("[data-composer]");
const sentAt = [];  // when each message that has no answer yet was sent

const line = new Line({
  onopen: () => { sentAt.length = 0; },
  onmessage: (data) => {
    const started = sentAt.shift();
    const took = started === undefined ? "" : `${(performance.now() - started).toFixed(1)} ms`;
    addMessage("received", data, took);
  },
  onnote: addNote,
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const input = form.elements.message;
  if (input.value) say(input.value);
  input.value = "";
  input.focus();
});

for (const button of form.querySelectorAll("[data-try]")) {
  button.addEventListener("click", () => say(button.textContent, button.dataset.try));
}

function say(text, kind) {
  const binary = !kind && form.elements.kind && form.elements.kind.value === "binary";
  const data = binary ? new TextEncoder().encode(text).buffer : text;
  addMessage("sent", data);
  sentAt.push(performance.now());
  line.send(data);
}

function addMessage(side, data, took) {
  const item = document.createElement("li");
  const isText = typeof data === "string";
  const size = isText ? new TextEncoder().encode(data).length : data.byteLength;
  item.className = `${side} ${isText ? "text" : "binary"}`;
  item.append(piece("span", "unseen", side === "sent" ? "You: " : "View: "));
  if (!isText) item.append(piece("code", "bytes", hexOf(data)));
  item.append(piece("span", "words", isText ? data : new TextDecoder().decode(data)));
  item.append(piece("small", "", [isText ? "text" : "binary", `${size} B`, took].filter(Boolean).join(" · ")));
  add(item);
}

function addNote(words, mood, code) {
  const item = document.createElement("li");
  item.className = `note ${mood}`;
  if (code) item.append(piece("b", "", code), " ");
  item.append(words);
  add(item);
}

function add(item) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  log.append(item);
  while (log.children.length > 200) log.firstChild.remove();
  if (atEnd || item.classList.contains("sent")) log.scrollTop = log.scrollHeight;
}

function piece(tag, className, text) {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

function hexOf(buffer) {
  const bytes = [...new Uint8Array(buffer, 0, Math.min(buffer.byteLength, 64))];
  const hex = bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return buffer.byteLength > 64 ? `${hex} …` : hex;
}
