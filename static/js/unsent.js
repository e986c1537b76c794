// Who is signed out while they fill in a form finds it filled in again once they have signed in. It is kept in this tab
// alone, until its next page; passwords, codes, files and forms with data-unkept are not. Comfort only: nothing needs it.
(() => {
  const KEY = "unsent";
  const who = document.querySelector(".shell-username")?.textContent;
  const here = location.pathname + location.search;
  const skipped = ["hidden", "password", "file", "submit", "button", "reset"];
  // One of a recovery sheet that was not taken still signs somebody in.
  const isSecret = (field) => field.autocomplete === "one-time-code";
  const fields = (form) =>
    [...form.elements].filter((field) => field.name && !skipped.includes(field.type) && !isSecret(field));
  const ticks = (field) => field.type === "checkbox" || field.type === "radio";
  const stored = (change) => {
    try {
      return change(sessionStorage);
    } catch {
      return null; // Then nothing is kept.
    }
  };

  document.addEventListener("submit", (e) => {
    const form = e.target;
    if (e.defaultPrevented || !who || form.method !== "post") return;
    if (!form.closest("#content") || form.matches("[data-unkept]")) return;
    const values = fields(form).map((field) => [field.name, field.value, ticks(field) ? field.checked : null]);
    if (!values.length) return;
    const unsent = { who, page: here, action: form.getAttribute("action") ?? "", values };
    stored((storage) => storage.setItem(KEY, JSON.stringify(unsent)));
  });

  const fill = (form, values) => {
    for (const [name, value, checked] of values) {
      const named = fields(form).filter((field) => field.name === name);
      const field = checked === null ? named[0] : named.find((one) => one.value === value);
      if (!field) continue;
      if (checked === null) field.value = value;
      else field.checked = checked;
    }
    form.dispatchEvent(new Event("change", { bubbles: true }));
  };

  const unsent = JSON.parse(stored((storage) => storage.getItem(KEY)) ?? "null");
  if (!unsent) return;
  if (!who) {
    // The page to sign in: what was sent last was not taken.
    return stored((storage) => storage.setItem(KEY, JSON.stringify({ ...unsent, refused: true })));
  }
  stored((storage) => storage.removeItem(KEY));
  if (!unsent.refused || unsent.who !== who || unsent.page !== here) return;
  const names = new Set(unsent.values.map(([name]) => name));
  const form = [...document.querySelectorAll("#content form")].find(
    (one) =>
      one.method === "post" &&
      (one.getAttribute("action") ?? "") === unsent.action &&
      [...names].every((name) => name in one.elements),
  );
  if (!form) return;
  fill(form, unsent.values);
  const said = document.createElement("div");
  said.className = "alert alert-info";
  said.setAttribute("role", "status");
  said.textContent = "You were signed out before this was sent. What you had filled in is here again.";
  form.prepend(said);
  for (let part = form; part; part = part.parentElement) if (part.matches("details")) part.open = true;
  said.scrollIntoView({ block: "center" });
})();
