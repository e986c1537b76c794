// A log whose new lines come by a websocket, each as it is written. Where there is none the page goes on asking every few
// seconds (live.js), as it does until the first word of the stream is there.
(() => {
  const part = document.querySelector("[data-follow]");
  const page = document.getElementById("jail-log");
  if (!part || !page) return;
  const find = (name) => part.querySelector(`[data-follow-${name}]`);
  const [state, again, stop, lines, empty] = ["state", "again", "stop", "lines", "empty"].map(find);
  const MOST = 5000;
  const HIDDEN = 60_000;
  const token = JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];
  const address = page.dataset.live;
  let socket, ended, kept, timer, paused = false;

  const say = (words, tone = "") => {
    state.textContent = words;
    state.dataset.tone = tone;
  };
  const time = () => new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });

  // Either the stream is shown or what the page asks for by itself.
  const show = (streams) => {
    part.classList.toggle("is-streaming", streams);
    document.getElementById("log-look")?.toggleAttribute("hidden", streams);
    if (streams) delete page.dataset.live;
    else if (!page.dataset.live) {
      page.dataset.live = address;
      window.live.forget(page);
      window.live.refresh(page);
    }
  };

  const clear = () => {
    lines.replaceChildren();
    kept = [];
    empty.hidden = false;
  };

  const add = (node, count) => {
    lines.append(node);
    kept.push({ node, count });
    let total = kept.reduce((sum, one) => sum + one.count, 0);
    while (total > MOST && kept.length > 1) {
      const { node: old, count: less } = kept.shift();
      old.remove();
      total -= less;
    }
  };

  const take = (said) => {
    const isAtEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
    empty.hidden = true;
    if (said.left_out) {
      const note = document.createElement("span");
      note.className = "log-left-out";
      note.textContent = `${said.left_out.toLocaleString()} ${said.left_out === 1 ? "line was" : "lines were"} left out: more came at once than is shown.\n`;
      add(note, 1);
    }
    add(document.createTextNode(said.lines.map((line) => `${line}\n`).join("")), said.lines.length);
    if (isAtEnd) lines.scrollTop = lines.scrollHeight;
  };

  const heard = (said) => {
    if (said.lines) return take(said);
    if (said.open) {
      clear();
      show(true);
      say("New lines appear as they are written.", "good");
      stop.hidden = false;
      again.hidden = true;
      return;
    }
    ended = { reason: said.refused ? "refused" : said.ended, words: said.refused ?? said.words };
  };

  const ticket = async () => {
    const answer = await fetch(part.dataset.ticket, {
      method: "POST",
      headers: { "X-CSRFToken": token, "Content-Type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams({ path: part.dataset.path }),
    });
    const isJson = answer.headers.get("Content-Type")?.includes("json");
    const said = isJson ? await answer.json() : {};
    if (said.ticket) return said.ticket;
    throw new Error(said.problem ?? "It may not be followed here now.");
  };

  // What was shown stays, unless the stream is gone for a reason of its own: then the page asks by itself again.
  const over = () => {
    socket = undefined;
    stop.hidden = true;
    again.hidden = false;
    if (paused) return;
    const streamed = part.classList.contains("is-streaming");
    if (ended && !["service", "host", "refused"].includes(ended.reason)) return say(`${ended.words} Nothing new is shown since ${time()}.`, "warn");
    say(`${ended?.words ?? (streamed ? `The stream was lost at ${time()}.` : "There is no stream of it.")} This page asks every few seconds instead.`, "warn");
    show(false);
  };

  const open = async () => {
    ended = undefined;
    paused = false;
    again.hidden = true;
    let secret;
    try {
      secret = await ticket();
    } catch (error) {
      ended = { reason: "refused", words: error instanceof TypeError ? "The panel does not answer." : error.message };
      return over();
    }
    const mine = (socket = new WebSocket(part.dataset.liveUrl));
    mine.onopen = () => mine.send(JSON.stringify({ ticket: secret, text: part.dataset.text }));
    mine.onmessage = ({ data }) => heard(JSON.parse(data));
    mine.onclose = () => mine === socket && over();
  };

  const leave = (words) => {
    const mine = socket;
    paused = true;
    over();
    mine?.close();
    say(words);
  };

  again.addEventListener("click", open);
  stop.addEventListener("click", () => {
    leave(`Stopped at ${time()}.`);
    again.focus();
  });
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(() => socket && (leave("Nobody looked."), (part.dataset.waits = "")), HIDDEN);
    else if ("waits" in part.dataset) {
      delete part.dataset.waits;
      open();
    }
  });
  part.hidden = false;
  open();
})();
