// The pages of the dashboard in a real Chromium, called by tests/api/chromium.rs, which serves them.
//
//   node tests/rig/pages.mjs '{"url": …, "name": …, "password": …, "pages": [path, …], "waits": ID, "live": ID}' [PART OF A NAME]
//
// It asks for what only the server's side can do on its output ("code", "lines", "go", "expire", "count"), and reads the answer, one line.
// It ends with 1 and says why when something does not hold. playwright-core and axe-core lie where tests/rig/install.sh browser puts them.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";

const rig = process.env.TAGALONG_RIG || `${process.env.XDG_CACHE_HOME || `${homedir()}/.cache`}/tagalong-rig`;
const require = createRequire(`${rig}/npm/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const told = JSON.parse(process.argv[2]);
const only = process.argv[3];
const replies = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const ask = async (what) => { console.log(what); return (await replies.next()).value; };
const holds = (what, value, more) => { if (!value) throw new Error(`${what}${more === undefined ? "" : `: ${JSON.stringify(more)}`}`); };
const same = (what, value, right) => holds(what, JSON.stringify(value) === JSON.stringify(right), { value, right });

const port = new URL(told.url).port;
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", `--host-resolver-rules=MAP evil.test 127.0.0.1:${port}, MAP attacker.test 127.0.0.1`];
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", headless: true, args: flags });

// Within the page.
const inPage = () => {
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
  window.shift = 0;
  new PerformanceObserver((all) => { for (const one of all.getEntries()) if (!one.hadRecentInput) window.shift += one.value; }).observe({ type: "layout-shift", buffered: true });
};
const context = async (more = {}) => {
  const made = await browser.newContext({ viewport: { width: 1200, height: 900 }, timezoneId: "Europe/Berlin", locale: "de-DE", ...more });
  made.setDefaultTimeout(60000);
  await made.addInitScript(inPage);
  return made;
};
const watched = async (of) => {
  const page = await of.newPage();
  page.errors = [];
  page.on("pageerror", (error) => page.errors.push(String(error)));
  page.on("console", (said) => { if (said.type() === "error") page.errors.push(`${page.url()}: ${said.text()}`); });
  return page;
};
const quiet = async (page) => same("nothing breaks and no policy is violated", [page.errors, await page.evaluate(() => window.violations)], [[], []]);

// By keys alone. Whatever has the focus can be seen to have it.
const here = (page) => page.evaluate(() => {
  const at = document.activeElement;
  const style = getComputedStyle(at);
  const name = (at.getAttribute("aria-label") || at.labels?.[0]?.textContent || at.textContent || at.value || "").trim().replace(/\s+/g, " ");
  const text = at.matches("input[type=radio], input[type=checkbox]") ? (at.closest("label")?.textContent || "").trim() : name;
  return { tag: at.tagName.toLowerCase(), id: at.id, text, href: at.getAttribute("href"), isSeen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 };
});
const tab = async (page, what, is) => {
  const passed = [];
  for (let at = 0; at < 120; at += 1) {
    await page.keyboard.press("Tab");
    const now = await here(page);
    passed.push(now.text.slice(0, 30));
    if (now.tag !== "body") holds("the focus can be seen", now.isSeen, now);
    if (is(now)) return now;
  }
  throw new Error(`Tab never comes to ${what}: ${passed.join(" | ")}`);
};
const link = (href) => (now) => now.tag === "a" && now.href === href;
const button = (text) => (now) => now.tag === "button" && now.text.startsWith(text);
const leads = async (page, key = "Enter") => { await Promise.all([page.waitForNavigation(), page.keyboard.press(key)]); };

let state;
const logIn = async () => {
  const page = await watched(await context());
  await page.goto(`${told.url}/`);
  // What has the focus from the beginning gets it with the first frame, which may come after all is loaded.
  await page.waitForFunction(() => document.activeElement.id === "name");
  await page.keyboard.type(told.name);
  await tab(page, "the password", (now) => now.id === "password");
  await page.keyboard.type(told.password);
  await leads(page);
  same("the overview", new URL(page.url()).pathname, "/");
  await quiet(page);
  state = await page.context().storageState();
  return page;
};

const tests = {
  async "log in, deploy, follow, roll back and approve by keys alone"() {
    const page = await logIn();
    await page.keyboard.press("Tab");
    same("the first stop leads past the bar", (await here(page)).href, "#main");
    await page.keyboard.press("Enter");
    await tab(page, "the service", link("/services/db"));
    await leads(page);
    await tab(page, "Deploy…", link("/services/db/deploy"));
    await leads(page);
    await tab(page, "a tag", (now) => now.tag === "input" && now.text.startsWith("2"));
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowUp");
    holds("an arrow chooses", await page.evaluate(() => document.activeElement.checked));
    await tab(page, "another tag", (now) => now.id === "other");
    await page.keyboard.type("9");
    await tab(page, "the reason", (now) => now.id === "reason");
    await page.keyboard.type("Für Jürgen");
    await tab(page, "the button", button("Deploy"));
    await leads(page);
    holds("the deployment", /^\/deployments\/[0-9A-Z]{26}$/.test(new URL(page.url()).pathname), page.url());
    await page.waitForFunction(() => document.getElementById("order").textContent.includes("Für Jürgen"));
    // It is followed while it runs.
    const count = () => document.querySelectorAll("#log-list .log-line").length;
    await page.waitForFunction(() => document.querySelectorAll("#log-list .log-line").length > 1);
    const before = await page.evaluate(count);
    await ask(`lines ${new URL(page.url()).pathname.split("/").at(-1)}`);
    await page.waitForFunction((least) => document.querySelectorAll("#log-list .log-line").length > least, before);
    await page.keyboard.press("/");
    same("the search of the log", (await here(page)).id, "log-text");
    await tab(page, "the lines", (now) => now.id === "log-box");
    await page.keyboard.press("Home");
    await page.waitForFunction(() => document.getElementById("log-box").scrollTop === 0);
    await page.keyboard.press("End");
    await page.waitForFunction(() => { const box = document.getElementById("log-box"); return box.scrollTop + box.clientHeight > box.scrollHeight - 30; });
    await ask("go");
    await page.waitForFunction(() => document.querySelector("#head .pill").textContent === "failed", null, { timeout: 60000 });
    // Back to the release before.
    await page.goto(`${told.url}/services/db`);
    await tab(page, "Roll back…", link("/services/db/rollback"));
    await leads(page);
    await tab(page, "the reason", (now) => now.id === "reason");
    await page.keyboard.type("2 is bad");
    await tab(page, "the button", button("Roll back to"));
    await leads(page, "Space");
    holds("a rollback", new URL(page.url()).pathname.startsWith("/deployments/") && (await page.locator("h1").textContent()).toLowerCase().includes("roll"), await page.locator("main").textContent());
    // What waits for this person stands first.
    await page.goto(`${told.url}/`);
    await tab(page, "Approve…", link(`/deployments/${told.waits}/approval`));
    await leads(page);
    await tab(page, "the code", (now) => now.id === "code");
    await page.keyboard.type("WRNG-WRNG-WRNG");
    await leads(page);
    holds("a wrong code is said", await page.locator("[role=alert]").isVisible());
    same("what was typed can be mended", await page.locator("#code").inputValue(), "WRNG-WRNG-WRNG");
    await tab(page, "the code", (now) => now.id === "code");
    await page.keyboard.press("Control+A");
    await page.keyboard.type((await ask("code")).toLowerCase());
    await leads(page);
    same("it is approved", new URL(page.url()).pathname, `/deployments/${told.waits}`);
    // The menu opens, and Escape closes it.
    await tab(page, "the menu", (now) => now.tag === "summary" && now.text === told.name);
    await page.keyboard.press("Enter");
    await tab(page, "Sessions", link("/sessions"));
    await page.keyboard.press("Escape");
    same("the menu", [await page.locator("details.menu[open]").count(), (await here(page)).tag], [0, "summary"]);
    page.errors = page.errors.filter((text) => !text.includes("status of 401") && !text.includes("status of 403"));
    await quiet(page);
    await page.context().close();
  },
  async "no page has a serious fault, in light and in dark, at a desk and on a phone"() {
    if (!state) await (await logIn()).context().close();
    const faults = [];
    for (const [colorScheme, viewport] of [["light", { width: 1200, height: 900 }], ["dark", { width: 390, height: 844 }]]) {
      const of = await context({ storageState: state, colorScheme, viewport, reducedMotion: "reduce" });
      const page = await watched(of);
      for (const path of told.pages) {
        const answer = await page.goto(told.url + path);
        same(`${path} is there`, answer.status(), 200);
        await page.waitForTimeout(400);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        if (wide > 0) faults.push(`${path} is ${wide} px too wide at ${viewport.width}`);
        const shift = await page.evaluate(() => window.shift);
        if (shift > 0.05) faults.push(`${path} shifts by ${shift.toFixed(3)}`);
        // By the protocol, since the page's own policy lets no foreign script in.
        await page.evaluate(axe);
        const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }).then((result) => result.violations
          .filter((one) => ["serious", "critical"].includes(one.impact)).map((one) => `${one.id}: ${one.nodes.map((node) => node.target.join(" ")).slice(0, 3).join(" | ")}`)));
        faults.push(...found.map((one) => `${path} ${colorScheme}: ${one}`));
        await quiet(page);
      }
      await of.close();
    }
    same("faults", faults, []);
  },
  async "words of other languages stay in their places"() {
    const of = await context({ storageState: state, viewport: { width: 390, height: 844 } });
    const page = await watched(of);
    for (const path of ["/", "/deployments", "/services/web", `/deployments/${told.live}`]) {
      await page.goto(told.url + path);
      const seen = await page.evaluate(() => {
        const rtl = [...document.querySelectorAll("bdi")].filter((one) => /[\u0590-\u06ff]/.test(one.textContent));
        return { wide: document.documentElement.scrollWidth - document.documentElement.clientWidth, rtl: rtl.length, apart: rtl.every((one) => getComputedStyle(one).unicodeBidi === "isolate") };
      });
      holds(`${path} is as wide as the screen and keeps directions apart`, seen.wide <= 0 && seen.apart && (seen.rtl > 0 || path === "/"), seen);
    }
    await of.close();
  },
  async "without script everything is shown, and forms work"() {
    const of = await browser.newContext({ storageState: state, javaScriptEnabled: false });
    const page = await of.newPage();
    for (const path of told.pages) {
      same(`${path} is there`, (await page.goto(told.url + path)).status(), 200);
      holds(`${path} has something to say`, (await page.locator("main").textContent()).trim().length > 20);
    }
    const before = Number(await ask("count"));
    await page.goto(`${told.url}/services/db/deploy`);
    await page.locator("#other").fill("12");
    await page.locator("form[action='/services/db/deploy'] button.main").click();
    holds("ordered", page.url().includes("/deployments/"), page.url());
    same("one more", Number(await ask("count")), before + 1);
    await of.close();
  },
  async "another site frames nothing, orders nothing and follows nothing"() {
    const before = Number(await ask("count"));
    const evil = createServer((request, answer) => {
      answer.setHeader("content-type", "text/html");
      answer.end(`<!doctype html><title>x</title><iframe id="f" src="${told.url}/services/db/deploy"></iframe><form id="go" method="post" action="${told.url}/services/db/deploy"><input name="other" value="66"><input name="form_token" value="x"></form>`);
    });
    await new Promise((ready) => evil.listen(0, "127.0.0.1", ready));
    const of = await context({ storageState: state });
    try {
      // The same host at another port, whose pages get the cookie sent along; and another host.
      for (const site of [`http://127.0.0.1:${evil.address().port}`, `http://attacker.test:${evil.address().port}`]) {
        const page = await of.newPage();
        await page.goto(site);
        await page.waitForTimeout(500);
        const framed = page.frames().find((frame) => frame !== page.mainFrame());
        holds(`${site} frames nothing`, !framed || !framed.url().startsWith(told.url), framed?.url());
        const tried = await page.evaluate(({ url, id }) => new Promise((done) => {
          const socket = new WebSocket(`${url.replace("http", "ws")}/ws/deployments/${id}`);
          socket.onopen = () => done("open");
          socket.onerror = () => done("refused");
        }), { url: told.url, id: told.live });
        same(`${site} follows nothing`, tried, "refused");
        const read = await page.evaluate((url) => fetch(`${url}/`, { credentials: "include" }).then((answer) => answer.text(), () => "refused"), told.url);
        same(`${site} reads nothing`, read, "refused");
        const [answer] = await Promise.all([page.waitForNavigation(), page.evaluate(() => document.getElementById("go").submit())]);
        same(`${site} orders nothing`, answer.status(), 403);
        await page.close();
      }
      // A name of somebody else that leads to this server.
      const page = await of.newPage();
      same("a name that is not ours", (await page.goto("http://evil.test/")).status(), 421);
      await page.close();
    } finally {
      evil.close();
      await of.close();
    }
    same("nothing was ordered", Number(await ask("count")), before);
  },
  async "a session that is over ends on every open page"() {
    const of = await context({ storageState: state });
    const page = await watched(of);
    await page.goto(`${told.url}/`);
    await ask("expire");
    await page.waitForURL((url) => url.pathname === "/login", { timeout: 60000 });
    await of.close();
  },
};

let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  if (only && !name.includes(only)) continue;
  const began = Date.now();
  try {
    if (!state && !name.startsWith("log in")) await (await logIn()).context().close();
    await test();
    console.error(`ok   ${name} (${Date.now() - began} ms)`);
  } catch (error) {
    failed += 1;
    console.error(`FAIL ${name}: ${error.stack}`);
    const page = browser.contexts().at(-1)?.pages().at(-1);
    await page?.screenshot({ path: `/tmp/tagalong-pages-failed-${failed}.png` }).catch(() => {});
  }
}
await browser.close();
process.exit(failed ? 1 : 0);
