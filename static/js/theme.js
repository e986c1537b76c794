// Runs before the first paint, so that a dark screen never flashes white and a hidden tree never flashes up.
(() => {
  const root = document.documentElement;
  root.dataset.js = "";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    if (root.dataset.theme === "auto") root.dataset.bsTheme = dark.matches ? "dark" : "light";
  };
  apply();
  dark.addEventListener("change", apply);
  try {
    root.dataset.tree = localStorage.getItem("tree") ?? "";
  } catch {
    // A browser that keeps nothing shows it.
  }
})();
