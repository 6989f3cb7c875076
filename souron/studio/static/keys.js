// A button is pressed by the key of its aria-keyshortcuts, unless something is being typed.
export const begin = (root) => {
  addEventListener("keydown", (event) => {
    const button = root.querySelector(`button[aria-keyshortcuts="${CSS.escape(event.key)}"]:enabled`);
    const typed = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (!button || typed || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    button.click();
  });
};
