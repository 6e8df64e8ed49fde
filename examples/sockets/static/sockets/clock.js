import { Line } from "./socket.js";

const clock = document.querySelector("[data-clock]");
const part = (selector) => clock.querySelector(selector);

new Line({
  onmessage: (data) => {
    const { time, zone, watching } = JSON.parse(data);
    part("time").textContent = time;
    part("[data-zone]").textContent = zone;
    part("[data-watching]").textContent = watching;
    part("[data-noun]").textContent = watching === 1 ? "open socket" : "open sockets";
    part(".hand").style.strokeDasharray = `${Number(time.slice(-2)) || 60} 60`;
  },
  onnote: (words, mood) => {
    let note = clock.querySelector(".said");
    if (!note) clock.append(note = Object.assign(document.createElement("p"), { className: "said" }));
    note.textContent = mood === "good" ? "" : words;
    note.setAttribute("role", "status");
  },
});
