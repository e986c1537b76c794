// Parts of a page that keep themselves up to date: an element with data-live names the address to ask, data-every how
// often (in ms; without it, whenever the tray has news), data-mark the ETag of what it shows. The answer is HTML whose
// elements take the places of those with the same ids. What has not changed stays the very same element, so that
// focus, selection, scrolling and what the reader has opened are never lost.
(() => {
  const PATIENCE = 15_000;
  const LONGEST_PAUSE = 30_000;
  const states = new WeakMap();
  const stateOf = (part) => {
    if (!states.has(part)) states.set(part, { mark: part.dataset.mark ?? "", busy: false, again: false, failures: 0 });
    return states.get(part);
  };
  let answeredAt = new Date();
  let leaving = false;
  addEventListener("pagehide", () => (leaving = true));
  addEventListener("pageshow", () => (leaving = false));

  // Taking over what has changed

  const kind = (node) => (node.id ? `#${node.id}` : `${node.nodeName} ${node.classList?.[0] ?? ""}`);

  const isKept = (element, name) =>
    name === "data-touched" || name === "inert" || (name === "open" && "touched" in element.dataset);

  const takeAttributes = (from, to) => {
    for (const { name, value } of to.attributes)
      if (!isKept(from, name) && from.getAttribute(name) !== value) from.setAttribute(name, value);
    for (const { name } of [...from.attributes])
      if (!to.hasAttribute(name) && !isKept(from, name)) from.removeAttribute(name);
  };

  const takeText = (from, to) => {
    if (from.data === to.data) return;
    // Appending keeps a selection in what is there.
    if (from.data && to.data.startsWith(from.data)) from.appendData(to.data.slice(from.data.length));
    else from.data = to.data;
  };

  const take = (from, to) => {
    if (from.nodeType !== Node.ELEMENT_NODE) return takeText(from, to);
    if (from.isEqualNode(to)) return;
    // Its words are the reader's: static/js/panel.js writes them.
    const times = "time[data-relative], time[data-lasting], time[data-elapsed]";
    if (from.matches(times) && from.getAttribute("datetime") === to.getAttribute("datetime")) return;
    takeAttributes(from, to);
    takeChildren(from, to);
  };

  const takeChildren = (from, to) => {
    const wantedKinds = new Set([...to.children].filter((child) => child.id).map(kind));
    let at = from.firstChild;
    for (const wanted of [...to.childNodes]) {
      const found = find(at, wanted, wantedKinds);
      if (!found) {
        from.insertBefore(document.importNode(wanted, true), at);
        continue;
      }
      if (wanted.id && found !== at) from.insertBefore(found, at);
      else {
        while (at !== found) at = remove(at);
        at = at.nextSibling;
      }
      take(found, wanted);
    }
    while (at) at = remove(at);
  };

  // What has an id is found wherever it is; anything else only before the next element with an id that stays.
  const find = (at, wanted, wantedKinds) => {
    for (let node = at; node; node = node.nextSibling) {
      if (kind(node) === kind(wanted)) return node;
      if (!wanted.id && node.id && wantedKinds.has(kind(node))) return null;
    }
    return null;
  };

  const remove = (node) => {
    const next = node.nextSibling;
    const hadFocus = node.contains(document.activeElement);
    const around = node.parentElement.closest("[data-live], main");
    node.remove();
    if (hadFocus) {
      around?.setAttribute("tabindex", "-1");
      around?.focus({ preventScroll: true });
    }
    return next;
  };

  const show = (html) => {
    const answer = new DOMParser().parseFromString(html, "text/html");
    for (const element of [...answer.body.children]) {
      const place = element.id && document.getElementById(element.id);
      if (!place) continue;
      place.dispatchEvent(new CustomEvent("live:before", { bubbles: true }));
      take(place, element);
      window.htmx?.process(place);
      place.dispatchEvent(new CustomEvent("live:after", { bubbles: true }));
    }
  };

  // Asking

  // A page that asks by itself must not keep a sign-in alive that nobody uses: it says whether anybody touched it.
  const ATTENDED_FOR = 60_000;
  let touchedAt = Date.now();
  for (const kind of ["keydown", "pointerdown", "pointermove", "wheel", "touchmove"])
    addEventListener(kind, () => (touchedAt = Date.now()), { capture: true, passive: true });

  const ask = (part) => {
    const headers = { "HX-Request": "true", "HX-Current-URL": location.href, "HX-Target": part.id };
    if (Date.now() - touchedAt > ATTENDED_FOR) headers["X-Unattended"] = "1";
    const { mark } = stateOf(part);
    if (mark) headers["If-None-Match"] = mark;
    return fetch(part.dataset.live, { headers, cache: "no-store", redirect: "manual", signal: AbortSignal.timeout(PATIENCE) });
  };

  const refresh = async (part) => {
    // What has come to its end, while news of it was on the way, has no address to ask any more.
    if (!part.isConnected || !part.dataset.live) return;
    const state = stateOf(part);
    if (state.busy) {
      state.again = true;
      return;
    }
    state.busy = true;
    clearTimeout(state.timer);
    try {
      await answered(part, await ask(part));
    } catch {
      state.failures += 1;
      if (!leaving) say("offline");
    }
    state.busy = false;
    if (state.again) {
      state.again = false;
      return refresh(part);
    }
    schedule(part);
  };

  const answered = async (part, answer) => {
    if (answer.type === "opaqueredirect") return say("signed-out");
    if (answer.status >= 500) throw new Error(answer.status);
    const html = answer.status === 200 ? await answer.text() : "";
    const state = stateOf(part);
    state.failures = 0;
    answeredAt = new Date();
    say("");
    if (answer.headers.get("HX-Refresh") || (answer.status >= 400 && part.id !== "tray")) return location.reload();
    // Who has taken its address away meanwhile shows something newer in its place.
    if (!html || !part.isConnected || !part.dataset.live) return;
    const hasNews = part.id === "tray" && state.mark !== "";
    state.mark = answer.headers.get("ETag") ?? "";
    show(html);
    if (hasNews) others(part).forEach(refresh);
    // It has come to its end: the tray has to tell so too.
    else if (!part.dataset.live) document.querySelectorAll("#tray").forEach(refresh);
  };

  const others = (part) => [...document.querySelectorAll("[data-live]")].filter((other) => other !== part);

  const schedule = (part) => {
    const state = stateOf(part);
    const every = Number(part.dataset.every) || (state.failures ? 2000 : 0);
    if (!part.isConnected || !part.dataset.live || !every) return;
    clearTimeout(state.timer);
    const pause = Math.min(Math.max(LONGEST_PAUSE, every), every * 2 ** Math.min(state.failures, 10));
    state.timer = setTimeout(() => document.hidden || refresh(part), pause);
  };

  // A button whose answer is a part of this page: <form data-post>
  const post = async (form, button) => {
    const body = new URLSearchParams(new FormData(form, button));
    const headers = { "HX-Request": "true", "HX-Current-URL": location.href };
    try {
      const answer = await fetch(form.action, { method: "POST", headers, body, redirect: "manual" });
      if (!answer.ok) throw new Error(answer.status);
      show(await answer.text());
      document.querySelectorAll("[data-live][data-every]").forEach(schedule);
    } catch {
      HTMLFormElement.prototype.submit.call(form);
    }
  };
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-post]") || event.defaultPrevented) return;
    event.preventDefault();
    post(event.target, event.submitter);
  });

  // Nobody looks at a hidden tab; whoever comes back to one wants to see how it is.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) document.querySelectorAll("[data-live]").forEach(refresh);
  });

  document.addEventListener("click", (event) => {
    const details = event.target.closest?.("summary")?.parentElement;
    if (details) details.dataset.touched = "";
  });

  // What is wrong with the line, and since when the page is as it is

  const say = (problem) => {
    for (const banner of document.querySelectorAll("[data-problem]")) {
      const wrong = banner.dataset.problem === problem;
      if (wrong && banner.hidden)
        banner.querySelectorAll("time").forEach((time) => {
          time.dateTime = answeredAt.toISOString();
          time.textContent = answeredAt.toLocaleTimeString();
        });
      banner.hidden = !wrong;
    }
  };

  window.live = { refresh, forget: (part) => (stateOf(part).mark = "") };
  document.querySelectorAll("[data-live]").forEach((part) => ("now" in part.dataset ? refresh(part) : schedule(part)));
})();
