// A room. Each message is shown once and in its place, however often and in whatever order it comes.

import { Line } from "./socket.js";

const { name } = document.body.dataset;
const log = document.querySelector("[data-log]");
const form = document.querySelector("[data-composer]");
const people = new Set();
const unconfirmed = new Map();  // items that were said here and have not come back from the room, by their key

let seen = document.body.dataset.since;  // the position of the last message
let resume = { since: seen, after: lastPk() };  // what to show when the line is cut: nothing before it is missing
let complete = false;  // whether what was missed while the line was cut has come

const line = new Line({
  address: (address) => `${address}?${new URLSearchParams(resume)}`,
  onopen: () => {
    complete = false;
    // The room keeps each key once: what had arrived before the line was cut is not said twice.
    unconfirmed.forEach(send);
  },
  onmessage: (data) => {
    const message = JSON.parse(data);
    if (message.here || message.joined) return showPeople(message);
    if (message.missed) complete = true;
    (message.missed || [message]).forEach(show);
    seen = message.position || seen;
    if (complete) resume = { since: seen, after: lastPk() };
  },
  onnote: (words, mood, code) => mood === "bad" && note(words, code),
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = form.elements.message.value.trim();
  if (!text) return;
  const key = newKey(), item = itemOf({ name, text });
  item.classList.add("unconfirmed");
  log.append(item);
  log.scrollTop = log.scrollHeight;
  unconfirmed.set(key, item);
  if (line.isOpen) send(item, key);
  form.reset();
  form.elements.message.focus();
});

// What nobody has got yet lives in this page only.
addEventListener("beforeunload", (event) => unconfirmed.size && event.preventDefault());

log.querySelectorAll("time").forEach((time) => { time.textContent = clock(time.dateTime); });
log.scrollTop = log.scrollHeight;

function send(item, key) {
  line.send(JSON.stringify({ key, text: item.querySelector(".words").textContent }));
}

function show(message) {
  if (unconfirmed.has(message.key)) unconfirmed.get(message.key).remove();
  unconfirmed.delete(message.key);
  if (log.querySelector(`[data-pk="${message.pk}"]`)) return;
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  const later = [...log.children].find((item) => Number(item.dataset.pk) > message.pk || item.matches(".unconfirmed"));
  log.insertBefore(itemOf(message), later || null);
  if (atEnd || message.name === name) log.scrollTop = log.scrollHeight;
}

function showPeople({ here, joined, left }) {
  if (here) people.clear();
  for (const person of Object.keys(here || joined)) people.add(person);
  for (const person of Object.keys(left || {})) people.delete(person);
  const list = document.querySelector("[data-here]");
  list.replaceChildren(...[...people].map((person) => piece("li", "", person)));
}

function itemOf({ pk, name: author, text, time }) {
  const item = piece("li", author === name ? "sent" : "received");
  if (pk) item.dataset.pk = pk;
  const head = piece("small");
  head.append(piece("b", "", author), " ", piece("time", "", time ? clock(time) : "…"));
  item.append(head, " ", piece("span", "words", text));
  return item;
}

function note(words, code) {
  const item = piece("li", "note bad");
  item.append(piece("b", "", code || ""), " ", words);
  log.append(item);
}

function piece(tag, className = "", text = "") {
  return Object.assign(document.createElement(tag), { className, textContent: text });
}

function lastPk() {
  return Math.max(0, ...[...log.querySelectorAll("[data-pk]")].map((item) => Number(item.dataset.pk)));
}

function clock(time) {
  return new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

// crypto.randomUUID is for https and localhost only; a phone in the same network comes over http.
function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
