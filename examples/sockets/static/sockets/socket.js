// A socket that says in words what happens to it, and comes back when the server does.

const CODES = {
  1000: "The view returned, so the socket closed.",
  1001: "The other side is going away.",
  1006: "The connection broke off without a closing handshake.",
  1007: "That was not JSON, so the protocol closed the socket.",
  1009: "The message was over the limit (PISTOKE_MAX_MESSAGE_SIZE).",
  1011: "The view raised an exception. Its traceback is in the terminal where the server runs.",
  1012: "The server is restarting.",
  4008: "This page did not keep up with what was published.",
};

// These pass by themselves; after any other code, trying again would only meet the same answer.
const PASSING = [1001, 1006, 1012, 1013, 4008];

const FIRST_PAUSE = 0.5, LONGEST_PAUSE = 10;  // seconds

export function wordsFor({ code, reason }) {
  const status = code - 4000;
  const words = CODES[code]
    || (status >= 400 && status < 600 && `The view answered ${status} after the socket had opened.`)
    || "The socket closed.";
  return reason ? `${words} Reason given: “${reason}”.` : words;
}

export class Line {
  constructor({ onopen, onmessage, onnote, address = (address) => address }) {
    this.address = () => address(document.body.dataset.socket);
    this.on = { onopen, onmessage, onnote };
    this.pause = FIRST_PAUSE;
    this.failures = 0;            // attempts that have failed since there was a connection
    this.unsent = [];             // what was given to send() while there was no connection
    this.bar = document.querySelector(".line");
    this.button = this.bar.querySelector("[data-toggle]");
    this.button.addEventListener("click", () => this.socket ? this.disconnect() : this.connect());
    for (const event of ["online", "focus"]) {
      window.addEventListener(event, () => this.timer && this.connect());
    }
    this.connect();
  }

  send(data) {
    if (this.socket && this.socket.readyState === WebSocket.OPEN) return this.socket.send(data);
    this.unsent.push(data);
    if (!this.socket) this.connect();
  }

  connect() {
    this.cancelRetry();
    this.show("connecting", "Connecting");
    const started = performance.now();
    const socket = this.socket = new WebSocket(this.address());
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.opened(performance.now() - started);
    socket.onmessage = (event) => this.on.onmessage(event.data);
    socket.onclose = (event) => socket === this.socket && this.closed(event);
  }

  disconnect() {
    this.asked = true;
    this.socket.close(1000);
  }

  opened(milliseconds) {
    const again = this.wasOpen;
    this.wasOpen = this.isOpen = true;
    this.pause = FIRST_PAUSE;
    this.failures = 0;
    this.show("open", "Connected");
    this.on.onnote(`${again ? "Connected again" : "Connected"} in ${Math.round(milliseconds)} ms.`, "good");
    if (again) refreshSource();
    if (this.on.onopen) this.on.onopen();
    this.unsent.splice(0).forEach((data) => this.socket.send(data));
  }

  async closed(event) {
    const { isOpen, asked } = this;
    this.socket = null;
    this.isOpen = this.asked = false;
    if (asked) {
      this.rest(event.code, "You closed the socket.", "");
    } else if (PASSING.includes(event.code)) {
      this.retry(event.code);
      if (isOpen) return this.on.onnote(wordsFor(event), "bad", event.code);
      // Said once, and not at all of a server that is back in a moment.
      if (++this.failures === (this.wasOpen ? 3 : 1)) this.on.onnote(await refusal(), "bad", event.code);
    } else {
      this.rest(event.code, wordsFor(event), event.code === 1000 ? "" : "bad");
    }
  }

  rest(code, words, mood) {
    this.unsent = [];
    this.show("closed", "Closed", code);
    this.on.onnote(words, mood, code);
  }

  retry(code) {
    const until = Date.now() + this.pause * 1000 * (0.8 + 0.4 * Math.random());
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE);
    const tick = () => {
      const left = until - Date.now();
      if (left <= 0) return this.connect();
      this.show("waiting", `Trying again in ${Math.ceil(left / 1000)} s`, code);
      this.timer = setTimeout(tick, Math.min(left, 1000));
    };
    tick();
  }

  cancelRetry() {
    clearTimeout(this.timer);
    this.timer = null;
  }

  show(state, word, code) {
    this.bar.dataset.state = document.body.dataset.state = state;
    const place = this.bar.querySelector("[data-word]");
    if (place.textContent !== word) place.textContent = word;
    const output = this.bar.querySelector("[data-code]");
    output.hidden = !code;
    output.textContent = code || "";
    this.button.textContent = { open: "Disconnect", connecting: "Cancel", waiting: "Try now", closed: "Connect" }[state];
  }
}

// A browser does not tell a page why a socket did not open; whether the page itself is still served says the rest.
async function refusal() {
  try {
    const answer = await fetch(location.href, { method: "HEAD", cache: "no-store" });
    return `The server answers pages (${answer.status}) but refused the socket. Its log says why.`;
  } catch (error) {
    return `Nobody answers at ${location.host}. Start the server with “make demo”: this page will find it.`;
  }
}

// The server has restarted, so the code may have changed: show what runs now.
async function refreshSource() {
  try {
    const page = await (await fetch(location.href, { cache: "no-store" })).text();
    const fresh = new DOMParser().parseFromString(page, "text/html").querySelector("[data-source]");
    const shown = document.querySelector("[data-source]");
    if (fresh && fresh.innerHTML !== shown.innerHTML) {
      shown.innerHTML = fresh.innerHTML;
      shown.classList.add("fresh");
      setTimeout(() => shown.classList.remove("fresh"), 1500);
    }
  } catch (error) { /* The server went away again: the next connection asks anew. */ }
}
