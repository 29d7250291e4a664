#!/usr/bin/env bash
# Looks at a report.html in a real browser: headless Chromium takes pictures (light, dark, Chinese, narrow), and
# axe-core looks for what keeps a reader out.
#
#   tests/real/report.sh setup              install Chromium (Debian) and axe-core with its driver (npm), once
#   tests/real/report.sh REPORT.html DIR    pictures and axe.json go to DIR; exit 1 where axe finds a violation
set -euo pipefail
home="${REAL_REPORT_HOME:-$HOME/.cache/real-report}"

usage() { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }

setup() {
  command -v chromium >/dev/null || { apt-get update -qq; apt-get install -y -qq --no-install-recommends chromium fonts-noto-cjk >/dev/null; }
  mkdir -p "$home"
  [ -d "$home/node_modules/axe-core" ] || (cd "$home" && npm install --silent --no-fund --no-audit playwright-core axe-core)
  echo "ready: $home"
}

look() {
  local report out
  report=$(realpath "$1") out=$(mkdir -p "$2" && realpath "$2")
  NODE_PATH="$home/node_modules" node - "$report" "$out" <<'JS'
const [report, out] = process.argv.slice(2);
const { chromium } = require("playwright-core");
const axe = require("axe-core");
const fs = require("fs");
const flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
  "--disable-sync", "--no-first-run"];
const views = [
  ["light", { width: 1280, height: 900 }, "theme=light&lang=en"],
  ["dark", { width: 1280, height: 900 }, "theme=dark&lang=en"],
  ["zh", { width: 1280, height: 900 }, "theme=light&lang=zh"],
  ["narrow", { width: 390, height: 844 }, "theme=light&lang=en"],
];
(async () => {
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: flags });
  let violations = [];
  const problems = [];
  for (const [name, viewport, query] of views) {
    const page = await browser.newPage({ viewport });
    // A screenshot of the whole page takes a slow machine more than a minute.
    page.setDefaultTimeout(300_000);
    page.on("pageerror", (error) => problems.push(`${name}: ${error}`));
    page.on("request", (request) => {
      if (!request.url().startsWith("file:")) problems.push(`${name}: asks for ${request.url()}`);
    });
    await page.goto(`file://${report}?${query}`);
    await page.screenshot({ path: `${out}/${name}.png`, fullPage: true });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (wide > 0) problems.push(`${name}: ${wide} px wider than the window`);
    // The page's policy forbids foreign scripts; the driver's own evaluation is not one.
    await page.evaluate(axe.source);
    const found = await page.evaluate(() => axe.run());
    violations = violations.concat(found.violations.map((one) => ({ view: name, id: one.id, impact: one.impact,
      nodes: one.nodes.slice(0, 3).map((node) => node.html.slice(0, 200)), count: one.nodes.length })));
    await page.close();
  }
  // The keyboard alone: the filter can be reached, and finds.
  const page = await browser.newPage({ viewport: views[0][1] });
  await page.goto(`file://${report}?lang=en`);
  const rows = await page.locator("#all tbody tr").count();
  if (rows > 0) {
    const first = await page.locator("#all tbody tr code").first().textContent();
    await page.focus("#find");
    await page.keyboard.type(first);
    const shown = await page.locator("#all tbody tr:visible").count();
    if (!(shown >= 1 && shown <= rows)) problems.push(`filter: ${shown} of ${rows} rows for ${first}`);
    const told = await page.locator("#shown").textContent();
    if (told !== `${shown} / ${rows}`) problems.push(`filter: says ${told}, shows ${shown} of ${rows}`);
  }
  await browser.close();
  fs.writeFileSync(`${out}/axe.json`, JSON.stringify({ violations, problems }, null, 2));
  for (const one of violations) console.log(`axe: ${one.view}: ${one.id} (${one.impact}) × ${one.count}: ${one.nodes[0]}`);
  for (const one of problems) console.log(`problem: ${one}`);
  console.log(`${violations.length} violations, ${problems.length} problems; pictures in ${out}`);
  process.exit(violations.length + problems.length ? 1 : 0);
})();
JS
}

case "${1:-}" in
  setup) setup ;;
  *) [ $# -eq 2 ] || usage; look "$1" "$2" ;;
esac
