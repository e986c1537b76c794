// Comfort only: every form and link works without this file.
(() => {
  const on = (event, selector, handler) =>
    document.addEventListener(event, (e) => {
      const target = e.target instanceof Element ? e.target.closest(selector) : null;
      if (target) handler(e, target);
    });

  // Search: / or Ctrl-K
  const search = () => document.querySelector("[data-search]");
  const results = () => document.getElementById("search-results");
  document.addEventListener("keydown", (e) => {
    const typing = e.target.matches?.("input, textarea, select, [contenteditable]");
    if ((e.key === "/" && !typing && !e.metaKey && !e.ctrlKey) || (e.key === "k" && (e.ctrlKey || e.metaKey))) {
      e.preventDefault();
      search()?.focus();
      search()?.select();
    }
    if (e.key === "Escape") {
      results()?.replaceChildren();
      document.querySelectorAll("details.menu[open]").forEach((menu) => {
        menu.open = false;
        menu.querySelector("summary")?.focus();
      });
    }
    if ((e.key === "ArrowDown" || e.key === "ArrowUp") && e.target.closest?.(".shell-search")) {
      const links = [...(results()?.querySelectorAll("a") ?? [])];
      if (!links.length) return;
      e.preventDefault();
      const at = links.indexOf(document.activeElement) + (e.key === "ArrowDown" ? 1 : -1);
      (links[at] ?? search()).focus();
    }
  });
  document.addEventListener("click", (e) => {
    if (!e.target.closest(".shell-search")) results()?.replaceChildren();
    document.querySelectorAll("details.menu[open]").forEach((menu) => {
      if (!menu.contains(e.target)) menu.open = false;
    });
  });

  // The tree, a drawer on small screens
  on("click", "[data-toggle-tree]", (e, button) => {
    const open = document.body.classList.toggle("tree-open");
    button.setAttribute("aria-expanded", String(open));
  });

  on("click", "[data-copy]", async (e, button) => {
    await navigator.clipboard?.writeText(button.dataset.copy);
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), 1200);
  });

  // Choosing rows of a list: nothing to do until one is chosen
  const updateBulk = (form) => {
    const bar = form.querySelector("[data-bulk-bar]");
    if (!bar) return;
    const everything = form.querySelector("[data-bulk-everything]");
    const boxes = [...form.querySelectorAll("input[name=jails]")];
    const chosen = boxes.filter((box) => box.checked).length;
    const count = form.querySelector("[data-bulk-count]");
    count.dataset.hint ??= count.textContent;
    count.textContent = everything?.checked ? "" : chosen ? `${chosen} chosen` : count.dataset.hint;
    bar.querySelectorAll("button").forEach((button) => (button.disabled = !chosen && !everything?.checked));
    boxes.forEach((box) => (box.disabled = everything?.checked ?? false));
    const all = form.querySelector("[data-select-all]");
    all.disabled = everything?.checked ?? false;
    all.checked = chosen > 0 && chosen === boxes.length;
    all.indeterminate = chosen > 0 && chosen < boxes.length;
  };
  on("change", "[data-bulk] input[type=checkbox]", (e, box) => {
    const form = box.closest("[data-bulk]");
    if (box.matches("[data-select-all]"))
      form.querySelectorAll("input[name=jails]").forEach((row) => (row.checked = box.checked));
    updateBulk(form);
  });
  // Also after Back, when the browser has put the ticks back
  addEventListener("pageshow", () => document.querySelectorAll("[data-bulk]").forEach(updateBulk));

  // Messages that come while one types: their field is marked as they say
  document.addEventListener("htmx:oobAfterSwap", (e) => {
    const notes = e.detail.target;
    if (!notes?.id.endsWith("_notes")) return;
    const wrong = notes.querySelector(".invalid-feedback") !== null;
    const input = document.getElementById(notes.id.slice(0, -"_notes".length));
    input?.classList.toggle("is-invalid", wrong);
    if (wrong) input?.setAttribute("aria-invalid", "true");
    else input?.removeAttribute("aria-invalid");
  });

  // Forms that submit as one chooses; the button is for those without JavaScript
  on("change", "form[data-autosubmit] select, form[data-autosubmit] input", (e, input) => input.form.requestSubmit());

  // Relative times in the viewer's zone
  const units = [["year", 31536000], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const format = new Intl.RelativeTimeFormat("en", { numeric: "always", style: "short" });
  const refreshTimes = (root = document) =>
    root.querySelectorAll("time[data-relative]").forEach((time) => {
      const at = new Date(time.dateTime);
      const seconds = (at - Date.now()) / 1000;
      const [unit, length] = units.find(([, size]) => Math.abs(seconds) >= size) ?? units.at(-1);
      time.textContent = Math.abs(seconds) < 10 ? "just now" : format.format(Math.trunc(seconds / length), unit);
      time.title = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
    });
  refreshTimes();
  setInterval(refreshTimes, 15000);
  document.addEventListener("htmx:afterSettle", (e) => refreshTimes(e.target));

  // Parts that are asked for again and again say what they have; 304 means it is so still
  document.addEventListener("htmx:configRequest", (e) => {
    const mark = e.detail.elt.dataset.etag;
    if (mark) e.detail.headers["If-None-Match"] = mark;
  });
  document.addEventListener("htmx:beforeSwap", (e) => {
    if (e.detail.xhr.status === 304) e.detail.shouldSwap = false;
    else if (e.target.id === "tray") e.target.dataset.etag = e.detail.xhr.getResponseHeader("ETag") ?? "";
  });

  // The tray keeps open, or closed, across its refreshes
  let trayOpen = false;
  document.addEventListener("htmx:beforeSwap", (e) => {
    if (e.target.id === "tray") trayOpen = e.target.querySelector("details")?.open ?? false;
  });
  document.addEventListener("htmx:afterSwap", (e) => {
    const details = e.target.id === "tray" && e.target.querySelector("details");
    if (details) details.open = trayOpen;
  });

  // A step's details stay as the reader left them
  const left = new Map();
  document.addEventListener("toggle", (e) => {
    const step = e.target.closest?.("[data-operation] li.step");
    if (step && e.isTrusted) left.set(step.id + [...step.querySelectorAll("details")].indexOf(e.target), e.target.open);
  }, true);

  // An operation's output follows the running step until the reader scrolls away
  let following = true;
  addEventListener("wheel", () => (following = false), { passive: true });
  addEventListener("touchmove", () => (following = false), { passive: true });
  document.addEventListener("htmx:afterSettle", (e) => {
    document.querySelectorAll("pre[data-follow]").forEach((pre) => (pre.scrollTop = pre.scrollHeight));
    if (!following || !e.target.closest?.("[data-operation]")) return;
    document.querySelector("[data-current-step]")?.scrollIntoView({ block: "nearest" });
  });

  // When the line is cut, the page says since when
  const offline = () => document.querySelector("[data-offline]");
  const setOffline = () => {
    const banner = offline();
    if (!banner?.hidden) return;
    const since = banner.querySelector("[data-offline-since]");
    since.textContent = new Date().toLocaleTimeString();
    banner.hidden = false;
  };
  document.addEventListener("htmx:sendError", setOffline);
  document.addEventListener("htmx:timeout", setOffline);
  document.addEventListener("htmx:afterOnLoad", () => {
    const banner = offline();
    if (banner) banner.hidden = true;
  });
})();
