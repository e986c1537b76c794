// Plays a recording in asciinema's format. It is fetched when somebody asks for it: each reading is in the log.
(() => {
  const part = document.querySelector("[data-player]");
  if (!part) return;
  const find = (name) => part.querySelector(`[data-player-${name}]`);
  const [state, speed, play, end, screen, seek] = ["state", "speed", "play", "end", "screen", "seek"].map(find);
  const range = seek.querySelector("input");
  const LONGEST_PAUSE = 2;
  let terminal, events, header, at, next, timer, since;

  const say = (words, tone = "") => {
    state.textContent = words;
    state.dataset.tone = tone;
  };
  const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

  // Long pauses are played short; the position shown is that of the recording.
  const parse = (text) => {
    const lines = text.split("\n").filter(Boolean);
    header = JSON.parse(lines[0]);
    let played = 0, before = 0;
    events = lines.slice(1).map((line) => {
      const [seconds, kind, data] = JSON.parse(line);
      played += Math.min(seconds - before, LONGEST_PAUSE);
      before = seconds;
      return { seconds, played, kind, data };
    });
  };

  const length = () => events.at(-1)?.played ?? 0;

  const read = async () => {
    say("Reading …");
    const answer = await fetch(part.dataset.file);
    if (!answer.ok) throw new Error((await answer.text()).slice(0, 200) || "It cannot be read.");
    parse(await answer.text());
    screen.hidden = false;
    terminal = cellblockTerminal({ cols: header.width, rows: header.height, disableStdin: true, cursorBlink: false });
    terminal.open(screen);
    range.max = Math.ceil(length() * 10) / 10;  // a whole number of its steps, or its end cannot be reached
    seek.hidden = end.hidden = false;
    if (answer.headers.get("X-Recording-Whole") === "no")
      part.insertAdjacentHTML("beforebegin", '<div class="alert alert-danger" role="alert"><div><strong>The file is not the one that was recorded.</strong> Its digest is another than the one in the log.</div></div>');
    rewind();
  };

  const rewind = () => {
    terminal.reset();
    terminal.resize(header.width, header.height);
    at = next = 0;
  };

  const show = ({ kind, data }) => {
    if (kind === "o") terminal.write(data);
    else if (kind === "r") terminal.resize(...data.split("x").map(Number));
    else if (kind === "m") terminal.write(`\r\n\x1b[0;7m ${data} \x1b[0m\r\n`);
  };

  const upTo = (position) => {
    if (position < at) rewind();
    while (next < events.length && events[next].played <= position) show(events[next++]);
    at = position;
    range.value = position < length() ? position : range.max;
    range.setAttribute("aria-valuetext", clock(events[next - 1]?.seconds ?? 0));
  };

  const stop = (words) => {
    cancelAnimationFrame(timer);
    timer = undefined;
    play.lastChild.textContent = at >= length() ? "Play again" : "Play";
    say(words);
  };

  const frame = (now) => {
    upTo(Math.min(length(), at + ((now - since) / 1000) * Number(speed.value)));
    since = now;
    if (at >= length()) return stop(`The end, at ${clock(events.at(-1)?.seconds ?? 0)}.`);
    say(`${clock(events[next - 1]?.seconds ?? 0)} of ${clock(events.at(-1).seconds)}`);
    timer = requestAnimationFrame(frame);
  };

  play.addEventListener("click", async () => {
    if (timer) return stop("Paused.");
    try {
      if (!events) await read();
    } catch (error) {
      return say(error.message, "bad");
    }
    if (at >= length()) rewind();
    play.lastChild.textContent = "Pause";
    since = performance.now();
    timer = requestAnimationFrame(frame);
  });
  end.addEventListener("click", () => {
    upTo(length());
    stop(`The end, at ${clock(events.at(-1)?.seconds ?? 0)}.`);
  });
  range.addEventListener("input", () => upTo(Number(range.value)));
})();
