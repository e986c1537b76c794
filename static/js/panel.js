// Comfort only: every form and link works without this file.
(() => {
  const on = (event, selector, handler) =>
    document.addEventListener(event, (e) => {
      const target = e.target instanceof Element ? e.target.closest(selector) : null;
      if (target) handler(e, target);
    });

  // Search: / or Ctrl-K
  const search = document.querySelector("[data-search]");
  const results = document.getElementById("search-results");
  const closeSearch = () => results?.replaceChildren();
  document.addEventListener("keydown", (e) => {
    const typing = e.target.matches?.("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
    const plain = !e.metaKey && !e.ctrlKey && !e.altKey;
    if (search && ((e.key === "/" && !typing && plain) || (e.key === "k" && (e.ctrlKey || e.metaKey)))) {
      e.preventDefault();
      setDrawer(false);
      search.focus();
      search.select();
    }
    if (e.key === "Escape") closeWhatIsOpen(e);
    if ((e.key === "ArrowDown" || e.key === "ArrowUp") && e.target.closest?.(".shell-search")) {
      const links = [...(results?.querySelectorAll("a") ?? [])];
      if (!links.length) return;
      e.preventDefault();
      const at = links.indexOf(document.activeElement) + (e.key === "ArrowDown" ? 1 : -1);
      if (at < links.length) (links[at] ?? search).focus();
    }
  });
  search?.form.addEventListener("focusout", (e) => {
    if (e.relatedTarget && !search.form.contains(e.relatedTarget)) closeSearch();
  });
  search?.addEventListener("focus", () => {
    if (search.value && !results.firstElementChild) htmx.trigger(search, "search-again");
  });
  const closeWhatIsOpen = (e) => {
    if (e.target.closest?.(".shell-search")) {
      if (results.firstElementChild) search.focus();
      else search.blur();
      return closeSearch();
    }
    setDrawer(false);
    document.querySelectorAll("details.menu[open]").forEach((menu) => {
      menu.open = false;
      menu.querySelector("summary")?.focus();
    });
  };
  document.addEventListener("click", (e) => {
    if (!e.target.closest(".shell-search")) closeSearch();
    document.querySelectorAll("details.menu[open]").forEach((menu) => {
      if (!menu.contains(e.target)) menu.open = false;
    });
  });
  document.addEventListener("focusout", (e) => {
    const menu = e.target.closest?.("details.menu[open]");
    if (menu && e.relatedTarget && !menu.contains(e.relatedTarget)) menu.open = false;
  });

  // The tree: hidden or shown on wide screens, a drawer on small ones
  const narrow = matchMedia("(max-width: 760px)");
  const treeButton = document.querySelector("[data-toggle-tree]");
  const isTreeShown = () =>
    narrow.matches ? document.body.classList.contains("tree-open") : document.documentElement.dataset.tree !== "hidden";
  const tellTree = () => treeButton?.setAttribute("aria-expanded", String(isTreeShown()));
  const setDrawer = (open) => {
    if (open === document.body.classList.contains("tree-open")) return;
    document.body.classList.toggle("tree-open", open);
    document.querySelectorAll("#content, #tray").forEach((part) => (part.inert = open));
    tellTree();
    if (open) (tree.querySelector("[aria-current]") ?? tree.querySelector("a")).focus();
    else if (document.activeElement?.closest("#tree") || document.activeElement === document.body) treeButton?.focus();
  };
  treeButton?.addEventListener("click", () => {
    if (narrow.matches) return setDrawer(!isTreeShown());
    const hide = isTreeShown();
    document.documentElement.dataset.tree = hide ? "hidden" : "";
    try {
      localStorage.setItem("tree", hide ? "hidden" : "");
    } catch {
      // Then it is not remembered.
    }
    tellTree();
  });
  on("click", "[data-close-tree]", () => setDrawer(false));
  narrow.addEventListener("change", () => {
    setDrawer(false);
    tellTree();
  });
  tellTree();

  // It stays where it was scrolled to, as far as that shows where one is
  const tree = document.getElementById("tree");
  if (tree) {
    try {
      tree.scrollTop = Number(sessionStorage.getItem("tree-scroll") ?? 0);
      addEventListener("pagehide", () => sessionStorage.setItem("tree-scroll", tree.scrollTop));
    } catch {
      // Then it begins at its top.
    }
    tree.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  }

  // What is unfolded in it is in a cookie, so that every page comes as the last one was left
  on("click", "[data-fold]", (e, button) => {
    const open = button.getAttribute("aria-expanded") !== "true";
    const kept = document.cookie.match(/(?:^|; )tree=([-+.0-9]*)/)?.[1].split(".").filter(Boolean) ?? [];
    const others = kept.filter((word) => word.slice(1) !== button.dataset.fold);
    const words = [...others, (open ? "+" : "-") + button.dataset.fold].slice(-300);
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `tree=${words.join(".")}; path=/; max-age=31536000; samesite=lax${secure}`;
    button.setAttribute("aria-expanded", String(open));
    const list = document.getElementById(button.getAttribute("aria-controls") ?? "");
    if (list) list.hidden = !open;
    const tray = document.getElementById("tray");
    live.forget(tray);
    live.refresh(tray);
  });

  on("click", "[data-copy]", async (e, button) => {
    const name = button.getAttribute("aria-label");
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      // Without https the browser keeps its clipboard to itself: then one presses Ctrl-C.
      const code = button.parentElement.querySelector("code");
      if (code) getSelection().selectAllChildren(code);
      return;
    }
    button.classList.add("copied");
    button.setAttribute("aria-label", "Copied");
    setTimeout(() => {
      button.classList.remove("copied");
      button.setAttribute("aria-label", name);
    }, 1200);
  });

  // Choosing rows of a list: nothing to do until one is chosen
  const updateBulk = (form) => {
    const bar = form.querySelector("[data-bulk-bar]");
    if (!bar) return;
    const everything = form.querySelector("[data-bulk-everything]");
    const boxes = [...form.querySelectorAll("tbody input[type=checkbox]")];
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
      form.querySelectorAll("tbody input[type=checkbox]").forEach((row) => (row.checked = box.checked));
    updateBulk(form);
  });
  // Also after Back, when the browser has put the ticks back
  const updateAllBulk = () => document.querySelectorAll("[data-bulk]").forEach(updateBulk);
  addEventListener("pageshow", updateAllBulk);
  document.addEventListener("live:after", updateAllBulk);

  // Messages that come while one types: their field is marked as they say
  document.addEventListener("htmx:oobAfterSwap", (e) => {
    const notes = document.getElementById(e.detail.target?.id ?? "");
    if (!notes?.id.endsWith("_notes")) return;
    const wrong = notes.querySelector(".invalid-feedback") !== null;
    const input = document.getElementById(notes.id.slice(0, -"_notes".length));
    input?.classList.toggle("is-invalid", wrong);
    if (wrong) input?.setAttribute("aria-invalid", "true");
    else input?.removeAttribute("aria-invalid");
  });

  // A second click sends nothing a second time
  document.addEventListener("submit", (e) => {
    if (e.target.method !== "post" || e.target.matches("[data-post]")) return;
    if ("sent" in e.target.dataset) e.preventDefault();
    e.target.dataset.sent = "";
  });
  addEventListener("pageshow", () =>
    document.querySelectorAll("form[data-sent]").forEach((form) => delete form.dataset.sent),
  );

  // Forms that submit as one chooses; the button is for those without JavaScript
  on("change", "form[data-autosubmit] select, form[data-autosubmit] input", (e, input) => input.form.requestSubmit());

  // Relative times, exact in the viewer's zone on hover; the words are those of panel/templatetags/cellblock.py
  const spans = [[31536000, "y"], [86400, "d"], [3600, "h"], [60, "min"]];
  const span = (seconds) => {
    const [length, unit] = spans.find(([size]) => seconds >= size) ?? [1, "s"];
    return `${Math.floor(seconds / length)} ${unit}`;
  };
  const relative = (seconds) => {
    if (seconds < 0) return `in ${span(-seconds)}`;
    return seconds < 10 ? "just now" : `${span(seconds)} ago`;
  };
  const refreshTimes = (root) => {
    root.querySelectorAll("time[data-exact]").forEach((time) => {
      time.title ||= time.textContent;
      const words = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
      if (time.textContent !== words) time.textContent = words;
    });
    root.querySelectorAll("time[data-relative], time[data-lasting]").forEach((time) => {
      const at = new Date(time.dateTime);
      const seconds = Math.floor((Date.now() - at) / 1000);
      const words = "lasting" in time.dataset ? span(Math.max(0, seconds)) : relative(seconds);
      if (time.textContent !== words) time.textContent = words;
      const exact = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
      if (time.title !== exact) time.title = exact;
    });
  };
  // Where a time is asked for: whose clock shows it
  document.querySelectorAll("input[data-time-zone]").forEach((input) => {
    if (input.value === "UTC" && !new URLSearchParams(location.search).has(input.name))
      input.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  });
  const countOn = () =>
    document.querySelectorAll("time[data-elapsed]").forEach((time) => {
      const seconds = Math.max(0, Math.floor((Date.now() - new Date(time.dateTime)) / 1000));
      time.textContent = seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
    });
  setInterval(() => document.hidden || countOn(), 1000);
  refreshTimes(document);
  setInterval(() => document.hidden || refreshTimes(document), 5000);
  document.addEventListener("visibilitychange", () => document.hidden || refreshTimes(document));
  document.addEventListener("htmx:afterSettle", (e) => refreshTimes(e.target));
  document.addEventListener("live:after", (e) => refreshTimes(e.target));

  // An operation's page follows the running step until the reader scrolls away
  let following = true;
  const follow = (on) => {
    following = on;
    document.body.classList.toggle("let-go", !on);
    if (on) document.querySelector("[data-current-step]")?.scrollIntoView({ block: "nearest" });
  };
  const letGo = () => following && document.querySelector("[data-operation][data-live]") && follow(false);
  addEventListener("wheel", letGo, { passive: true });
  addEventListener("touchmove", letGo, { passive: true });
  addEventListener("pointerdown", (e) => e.clientX >= document.documentElement.clientWidth && letGo());
  addEventListener("keydown", (e) => {
    const scrolls = ["ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End"].includes(e.key);
    if (scrolls && !e.target.closest?.("input, textarea, select, .shell-search")) letGo();
  });
  on("click", "[data-follow-again]", () => follow(true));

  // Output scrolls along while one looks at its end
  const atEnd = new WeakSet();
  const outputs = (part) => part.querySelectorAll("pre.output");
  document.addEventListener("live:before", (e) =>
    outputs(e.target).forEach((pre) => {
      if (pre.scrollHeight - pre.scrollTop - pre.clientHeight < 8) atEnd.add(pre);
      else atEnd.delete(pre);
      seen.add(pre);
    }),
  );
  const seen = new WeakSet();
  document.addEventListener("live:after", (e) => {
    outputs(e.target).forEach((pre) => {
      if (atEnd.has(pre) || !seen.has(pre)) pre.scrollTop = pre.scrollHeight;
    });
    if (e.target.matches("[data-operation]") && following) showOutcome(e.target);
  });
  const showOutcome = (operation) => {
    if ("live" in operation.dataset)
      return document.querySelector("[data-current-step]")?.scrollIntoView({ block: "nearest" });
    const failed = document.querySelector("[data-failed-step]");
    if (failed) failed.scrollIntoView({ block: "center" });
    else scrollTo(0, 0);
  };
  outputs(document).forEach((pre) => (pre.scrollTop = pre.scrollHeight));

  // A failed operation opens at the step that failed, unless one comes back to it or follows a link into it
  const arrival = performance.getEntriesByType("navigation")[0]?.type;
  if (arrival === "navigate" && !location.hash)
    document.querySelector("[data-failed-step]")?.scrollIntoView({ block: "center" });

  // Fields that matter for some choices only: data-for="kind=ssh", data-for="become!=root"
  const showFields = () =>
    document.querySelectorAll("[data-for]").forEach((part) => {
      const [, name, is, value] = part.dataset.for.match(/^(\w+)(!?=)(.*)$/);
      const field = part.closest("form")?.elements[name];
      if (field) part.hidden = (field.value === value) !== (is === "=");
    });
  document.addEventListener("change", showFields);
  addEventListener("pageshow", showFields);
  showFields();
})();
