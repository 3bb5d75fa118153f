// Takes pictures of every page: shoot.mjs URL CODE FOLDER. Needs playwright-core (PLAYWRIGHT) and Chromium; with AXE it looks for faults as well.
import { createRequire } from "node:module";
import { readFileSync, mkdirSync } from "node:fs";
const require = createRequire(process.env.PLAYWRIGHT + "/");
const { chromium } = require("playwright-core");
const [base, code, folder] = process.argv.slice(2);
const axe = process.env.AXE ? readFileSync(process.env.AXE, "utf8") : "";
const only = process.env.ONLY ? process.env.ONLY.split(",") : null;
mkdirSync(folder, { recursive: true });
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--disable-quic"] });
const sizes = { desktop: { width: 1280, height: 860 }, phone: { width: 390, height: 844 } };
let state;
let faults = 0;
const first = await (await browser.newContext()).newPage();
await first.goto(`${base}/login`);
await first.locator("details summary").first().click().catch(() => {});
await first.locator("input[name=code]").fill(code);
await first.locator("form:has(input[name=code]) button").click();
await first.waitForURL((url) => !url.pathname.startsWith("/login"));
state = await first.context().storageState();
const links = await first.goto(`${base}/deployments`).then(() => first.locator("a[href^='/deployments/']").evaluateAll((all) => all.map((one) => one.getAttribute("href"))));
console.log(`${links.length} deployments`);
const undone = await first.goto(`${base}/deployments?state=rolled_back&service=shop`).then(() => first.locator("a[href^='/deployments/']").first().getAttribute("href")).catch(() => links[0]);
const pages = { overview: "/", deployments: "/deployments", service: "/services/shop", deployment: undone, deploy: "/services/shop/deploy", rollback: "/services/shop/rollback",
  incidents: "/incidents?all=1", agents: "/agents", users: "/users", data: "/data", keys: "/keys", audit: "/audit", operator: "/services/accounts", long: "/services/datenschutzgrundverordnungsauskunft" };
for (const [size, viewport] of Object.entries(sizes)) {
  for (const colorScheme of ["light", "dark"]) {
    const context = await browser.newContext({ viewport, colorScheme, deviceScaleFactor: 1, storageState: state, timezoneId: "Europe/Berlin", locale: "en-GB", reducedMotion: "reduce" });
    // A sheet or script that is being worked on, in the place of the one in the binary.
    if (process.env.ASSETS) await context.route("**/assets/*", (route) => {
      const name = new URL(route.request().url()).pathname.replace(/^.*\/(.*)-[0-9a-f]+\./, "$1.");
      return route.fulfill({ path: `${process.env.ASSETS}/${name}` });
    });
    const page = await context.newPage();
    page.on("console", (message) => { if (message.type() === "error") { faults += 1; console.log(`${page.url()}: ${message.text()}`); } });
    page.on("pageerror", (error) => { faults += 1; console.log(`${page.url()}: ${error}`); });
    for (const [name, path] of Object.entries(pages)) {
      if (only && !only.includes(name)) continue;
      const answer = await page.goto(base + path);
      if (!answer.ok()) { faults += 1; console.log(`${path}: ${answer.status()}`); }
      // What was not seen yet is asked for again by the page itself.
      await page.waitForFunction(() => !/not seen yet|has not answered|said nothing|are being made|being looked at/.test(document.body.innerText), null, { timeout: 60000 });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (wide > 0) { faults += 1; console.log(`${name} ${size}: ${wide} px too wide`); }
      await page.screenshot({ path: `${folder}/${name}-${size}-${colorScheme}.png`, fullPage: process.env.FULL === "1" });
      if (axe) {
        await page.evaluate(axe);
        const found = await page.evaluate(async () => { const result = await globalThis.axe.run(); return result.violations.map((one) => `${one.impact} ${one.id}: ${one.nodes.map((node) => node.target.join(" ")).slice(0, 4).join(" | ")}`); });
        for (const fault of found) { faults += 1; console.log(`${name} ${size} ${colorScheme}: ${fault}`); }
      }
    }
    await context.close();
  }
}
await browser.close();
console.log(`${faults} faults`);
process.exit(faults ? 1 : 0);
