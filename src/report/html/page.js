// Language, colours, and the filter. Without this script the page is whole, in English, unfiltered.
(() => {
  const root = document.documentElement;
  const kept = (name, value) => {
    try {
      if (value !== undefined) localStorage.setItem(name, value);
      return localStorage.getItem(name);
    } catch { return null; }
  };

  const speak = (lang) => { root.lang = lang; };
  const asked = new URLSearchParams(location.search).get("lang") || kept("lang");
  speak(asked === "zh" || (!asked && navigator.language.startsWith("zh")) ? "zh" : "en");
  document.getElementById("lang").addEventListener("click", () => {
    speak(kept("lang", root.lang === "zh" ? "en" : "zh") || (root.lang === "zh" ? "en" : "zh"));
  });

  const dark = () => root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  const theme = new URLSearchParams(location.search).get("theme") || kept("theme");
  if (theme === "dark" || theme === "light") root.dataset.theme = theme;
  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    kept("theme", root.dataset.theme);
  });

  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));

  const form = document.getElementById("filter");
  if (!form) return;
  const rows = [...document.querySelectorAll("#all tbody tr")].map((row) => ({ row, text: row.textContent.toLowerCase() }));
  const boxes = [...form.querySelectorAll("input[name=status]")];
  const find = document.getElementById("find");
  const kind = document.getElementById("kind");
  const shown = document.getElementById("shown");
  const filter = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    let count = 0;
    for (const { row, text } of rows) {
      const good = wanted.has(row.dataset.status)
        && (!kind.value || row.dataset.kind === kind.value)
        && words.every((word) => text.includes(word));
      row.hidden = !good;
      count += good;
    }
    shown.textContent = `${count} / ${rows.length}`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.querySelectorAll(".counts a").forEach((link) => link.addEventListener("click", () => {
    boxes.forEach((box) => { box.checked = box.value === link.dataset.status; });
    filter();
  }));
})();
