// Says on the page what went wrong with a passkey; the ceremonies themselves are allauth's scripts.
(() => {
  const REASONS = {
    NotAllowedError: "It was cancelled, took too long, or there is no passkey for this panel here.",
    InvalidStateError: "This device or key has a passkey of yours already.",
    SecurityError: "The browser allows no passkeys at this address.",
    NotSupportedError: "This device or key has no passkeys of the sort that is needed.",
  };
  document.addEventListener("allauth.error", (event) => {
    event.preventDefault();
    const place = document.querySelector("[data-passkey-problem]");
    place.firstElementChild.textContent = REASONS[event.detail.exception.name] ?? "This browser could not use a passkey.";
    place.hidden = false;
  });
})();
