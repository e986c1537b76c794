// xterm.js under a Content-Security-Policy without inline style: what it would put into <style> elements and style
// attributes goes into style sheets and properties that scripts may set. No exception to the policy is needed.
(() => {
  const create = document.createElement.bind(document);
  const setAttribute = Element.prototype.setAttribute;

  const sheetElement = () => {
    const element = create("span");
    element.hidden = true;
    const sheet = new CSSStyleSheet();
    let text = "";
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
    Object.defineProperty(element, "textContent", {
      get: () => text,
      set: (value) => {
        text = value;
        sheet.replaceSync(value);
      },
    });
    element.remove = () => {
      document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => one !== sheet);
      HTMLElement.prototype.remove.call(element);
    };
    return element;
  };

  document.createElement = (name, options) => (name === "style" ? sheetElement() : create(name, options));
  Element.prototype.setAttribute = function (name, value) {
    if (name === "style") this.style.cssText = value;
    else setAttribute.call(this, name, value);
  };

  // Colours that keep AA on a dark ground in both themes: a terminal is dark in either.
  const theme = {
    background: "#10161f", foreground: "#dfe6ee", cursor: "#dfe6ee", selectionBackground: "#35507a",
    black: "#3b4654", red: "#ff8d86", green: "#7bd88f", yellow: "#ecc35c", blue: "#86b7ff", magenta: "#d9a0ff", cyan: "#6fd3dc", white: "#dfe6ee",
    brightBlack: "#93a1b3", brightRed: "#ffaaa5", brightGreen: "#a2e8b0", brightYellow: "#f5d78c", brightBlue: "#aecfff", brightMagenta: "#e6c3ff", brightCyan: "#9be5eb", brightWhite: "#ffffff",
  };

  window.cellblockTerminal = (options) =>
    new Terminal({
      theme,
      fontFamily: "ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace",
      fontSize: 14,
      scrollback: 5000,
      minimumContrastRatio: 4.5,
      cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      ...options,
    });
})();
