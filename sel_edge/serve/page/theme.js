// Runs before the first paint, so that nobody is blinded by the wrong theme. The choice is
// "auto", "light" or "dark"; what is shown stands in <html data-theme>.
(() => {
  const STORED = "sel-edge.theme";
  const CHOICES = ["auto", "light", "dark"];
  const wantsDark = matchMedia("(prefers-color-scheme: dark)");

  function stored() {
    try {
      const choice = localStorage.getItem(STORED);
      return CHOICES.includes(choice) ? choice : "auto";
    } catch {
      return "auto"; // storage is forbidden
    }
  }

  let choice = stored();

  function show() {
    const system = wantsDark.matches ? "dark" : "light";
    document.documentElement.dataset.theme = choice === "auto" ? system : choice;
  }

  wantsDark.addEventListener("change", show);
  show();

  window.theme = {
    get choice() {
      return choice;
    },
    next() {
      choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
      try {
        localStorage.setItem(STORED, choice);
      } catch {
        // it holds for this visit only
      }
      show();
    },
  };
})();
