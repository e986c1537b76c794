// A console: asks for a ticket, opens a websocket with it, and is the terminal at its end. The server's words go to the
// state line, which says at any time what there is: nothing, a connection, or why there is none any more.
(() => {
  const part = document.querySelector("[data-console]");
  if (!part) return;
  const find = (name) => part.querySelector(`[data-console-${name}]`);
  const [form, state, login, connect, leave, screen] = ["form", "state", "login", "connect", "leave", "screen"].map(find);
  const ACKNOWLEDGED_EVERY = 64 * 1024;
  const encoder = new TextEncoder();
  const token = JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];
  let terminal, fit, socket, ended, opened;

  const say = (words, tone = "") => {
    state.textContent = words;
    state.dataset.tone = tone;
  };
  const time = () => new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

  const buttons = (open) => {
    connect.hidden = open;
    leave.hidden = !open;
    login.readOnly = open;
  };

  const prepare = () => {
    terminal?.dispose();
    screen.hidden = false;
    terminal = cellblockTerminal({ screenReaderMode: true });
    fit = new FitAddon.FitAddon();
    terminal.loadAddon(fit);
    terminal.open(screen);
    terminal.textarea.setAttribute("aria-label", `Terminal in ${part.dataset.jail}`);
    terminal.textarea.setAttribute("aria-describedby", "console-help");
    fit.fit();
    terminal.attachCustomKeyEventHandler((event) => {
      if (!event.ctrlKey || !event.shiftKey || event.type !== "keydown") return true;
      if (event.key === "ArrowUp") {
        (leave.hidden ? connect : leave).focus();
        return false;
      }
      if (event.code === "KeyC" && terminal.hasSelection()) {
        navigator.clipboard?.writeText(terminal.getSelection());
        event.preventDefault();
        return false;
      }
      return true;
    });
    terminal.onData((text) => send(encoder.encode(text)));
    terminal.onBinary((text) => send(Uint8Array.from(text, (letter) => letter.charCodeAt(0))));
    terminal.onResize(({ cols, rows }) => send(JSON.stringify({ columns: cols, rows })));
    terminal.focus();
  };

  const send = (content) => {
    if (socket?.readyState === WebSocket.OPEN) socket.send(content);
  };

  const ticket = async () => {
    const answer = await fetch(part.dataset.ticket, {
      method: "POST",
      headers: { "X-CSRFToken": token, "Content-Type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams({ login: login.value }),
    });
    const isJson = answer.headers.get("Content-Type")?.includes("json");
    const said = isJson ? await answer.json() : {};
    if (said.ticket) return said.ticket;
    if (said.prove) {
      location.assign(said.prove);
      throw new Error("First prove that it is you …");
    }
    throw new Error(said.problem ?? "You may not open a console here now, or are signed out. Load the page again.");
  };

  const heard = (said) => {
    if (said.refused || said.ended) {
      ended = said.refused ?? said.words;
      const status = said.ended === "exit" && Number.isInteger(said.status) ? ` Exit status ${said.status}.` : "";
      say(`${ended}${status}`, said.ended === "exit" ? "" : "warn");
    } else if (said.open) {
      opened = true;
      say(`Connected to ${part.dataset.jail} as ${login.value}. Recorded.`, "good");
    } else if (said.ends_in) {
      const why = said.why === "idle" ? "Nothing was typed for long: type something, or it" : "The longest time is nearly over: it";
      say(`${why} ends in ${said.ends_in} seconds.`, "warn");
    }
  };

  const open = async () => {
    buttons(true);
    say("Connecting …");
    ended = "";
    opened = false;
    let secret;
    try {
      secret = await ticket();
    } catch (error) {
      say(error instanceof TypeError ? "The panel does not answer. Try again." : error.message, "bad");
      buttons(false);
      return;
    }
    prepare();
    let got = 0, told = 0, warned = false;
    socket = new WebSocket(part.dataset.liveUrl);
    const mine = socket;
    mine.binaryType = "arraybuffer";
    mine.onopen = () => mine.send(JSON.stringify({ ticket: secret, columns: terminal.cols, rows: terminal.rows }));
    mine.onmessage = ({ data }) => {
      if (typeof data === "string") {
        const said = JSON.parse(data);
        warned = Boolean(said.ends_in);
        heard(said);
        return;
      }
      terminal.write(new Uint8Array(data), () => {
        got += data.byteLength;
        if (got - told < ACKNOWLEDGED_EVERY) return;
        told = got;
        if (mine.readyState === WebSocket.OPEN) mine.send(JSON.stringify({ seen: got }));
      });
    };
    terminal.onData(() => {
      if (warned) heard({ open: true });
      warned = false;
    });
    mine.onclose = () => {
      if (mine !== socket) return;
      socket = undefined;
      if (!ended) say(`The connection was lost at ${time()}. What ran on this terminal is ended; connect again for a new one.`, "bad");
      buttons(false);
      connect.focus();
      if (!opened) {
        screen.hidden = true;
        return;
      }
      connect.lastChild.textContent = "Connect again";
      terminal.options.disableStdin = true;
      terminal.options.cursorBlink = false;
    };
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    open();
  });
  leave.addEventListener("click", () => {
    ended = "Disconnected.";
    say(ended);
    socket?.close();
  });
  // The size it comes to, not those on the way: of a line that is being typed a narrower terminal keeps only what fits.
  let fitting;
  new ResizeObserver(() => {
    clearTimeout(fitting);
    fitting = setTimeout(() => terminal && !screen.hidden && screen.clientWidth > 80 && fit.fit(), 150);
  }).observe(screen);
  addEventListener("beforeunload", (event) => socket && event.preventDefault());
})();
