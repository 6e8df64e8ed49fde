// Measurements of the last minute as areas under a line, newest on the right.

import { Line } from "./socket.js";

const WIDTH = 600, HEIGHT = 120, SECONDS = 60;
let points = [];

const line = new Line({
  onmessage: (data) => {
    const point = JSON.parse(data);
    // After a cut the last minute comes again.
    points = points.filter(({ time }) => time !== point.time && time > point.time - SECONDS).concat(point);
    document.querySelectorAll("[data-chart]").forEach(draw);
  },
  onnote: (words, mood) => { document.querySelector("[data-note]").textContent = mood === "good" ? "" : words; },
});

document.querySelector("[data-work]").addEventListener("click", () => line.send("work"));

function draw(chart) {
  const { chart: name, least, digits = 0 } = chart.dataset;
  const now = points[points.length - 1], top = 1.1 * Math.max(Number(least), ...points.map((point) => point[name]));
  const x = ({ time }) => (WIDTH * (1 - (now.time - time) / SECONDS)).toFixed(1);
  const y = (point) => (HEIGHT * (1 - Math.max(0, point[name]) / top)).toFixed(1);
  const path = points.map((point) => `${x(point)} ${y(point)}`).join("L");
  chart.querySelector("[data-value]").textContent = now[name].toFixed(digits);
  chart.querySelector("svg").innerHTML = `
    <path class="grid" d="M0 30H600M0 60H600M0 90H600"/>
    <path class="area" d="M${x(points[0])} ${HEIGHT}L${path}V${HEIGHT}Z"/>
    <path class="trace" d="M${path}"/>`;
}
