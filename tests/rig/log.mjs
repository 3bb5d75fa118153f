// The log of the dashboard in a real Chromium: called by tests/api/log_page.rs, which serves it and writes its lines.
//
//   node tests/rig/log.mjs '{"url": …, "cookie": {name, value}, "ended": ID, "lines": N, "live": ID, "hostile": [[position, text], …]}'
//
// It asks for lines of the live log on its output ("write 100"), and reads how many there are then ("100"). It ends with 1 and says why when
// something does not hold. playwright-core lies where tests/rig/install.sh browser puts it.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { homedir } from "node:os";
import { mkdtempSync, rmSync } from "node:fs";

const rig = process.env.TAGALONG_RIG || `${process.env.XDG_CACHE_HOME || `${homedir()}/.cache`}/tagalong-rig`;
const { chromium } = createRequire(`${rig}/npm/`)("playwright-core");
const told = JSON.parse(process.argv[2]);
const only = process.argv[3];
const replies = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const write = async (count) => {
  console.log(`write ${count}`);
  return Number((await replies.next()).value);
};
const holds = (what, value, more) => { if (!value) throw new Error(`${what}${more === undefined ? "" : `: ${JSON.stringify(more)}`}`); };
const same = (what, value, right) => holds(what, JSON.stringify(value) === JSON.stringify(right), { value, right });

// Within the page.
const inPage = () => {
  window.longest = 0;
  new PerformanceObserver((all) => { for (const one of all.getEntries()) window.longest = Math.max(window.longest, one.duration); }).observe({ entryTypes: ["longtask"] });
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
  window.sockets = [];
  const Real = window.WebSocket;
  window.WebSocket = class extends Real {
    constructor(...all) {
      super(...all);
      window.sockets.push(this);
      this.addEventListener("message", (event) => { for (const [, position] of event.data.matchAll(/"position":(\d+)/g)) window.flowed = Number(position); });
    }
  };
  window.open_sockets = () => window.sockets.filter((one) => one.readyState <= 1).length;
  window.seen = () => {
    const edge = document.getElementById("log-box").getBoundingClientRect();
    const all = [...document.querySelectorAll("#log-list .log-line")].filter((line) => {
      const rect = line.getBoundingClientRect();
      return rect.bottom > edge.top + 1 && rect.top < edge.bottom - 1 && rect.height > 0;
    });
    return all.map((line) => Number(line.dataset.p));
  };
  // On a busy machine a frame may come long after the lines.
  const soon = window.requestAnimationFrame.bind(window);
  window.late = 0;
  window.frames = 0;
  const count = () => { window.frames += 1; soon(count); };
  soon(count);
  window.requestAnimationFrame = (draw) => (window.late ? setTimeout(() => soon(draw), window.late) : soon(draw));
  window.hide = (isHidden) => {
    Object.defineProperty(document, "hidden", { get: () => isHidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  };
};

const profile = mkdtempSync("/tmp/tagalong-log-");
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: "/usr/bin/chromium", headless: true, args: flags, viewport: { width: 1200, height: 900 }, timezoneId: "Europe/Berlin", locale: "de-DE",
});
browser.setDefaultTimeout(60000);
await browser.addInitScript(inPage);
await browser.addCookies([{ ...told.cookie, url: told.url }]);

const opened = async (id, more = "", first = null, steps = null) => {
  const page = await browser.newPage();
  if (first) await page.addInitScript(first);
  if (steps) await page.route("**/log/search?kind=step*", steps);
  page.errors = [];
  page.on("pageerror", (error) => page.errors.push(String(error)));
  page.on("console", (said) => { if (said.type() === "error") page.errors.push(said.text()); });
  await page.goto(`${told.url}/deployments/${id}${more}`);
  await page.waitForFunction(() => window.seen().length > 5);
  return page;
};
const closed = async (page) => {
  same("nothing breaks and no policy is violated", [page.errors, await page.evaluate(() => window.violations)], [[], []]);
  await page.close();
};
const shows = (page, position) => page.waitForFunction((wanted) => window.seen().includes(wanted), position);
// Nothing that was asked for is on its way any more: the same place is seen again and again.
const still = async (page) => {
  await page.evaluate(() => { window.stood = null; });
  await page.waitForFunction(() => {
    const place = JSON.stringify([window.seen()[0], document.getElementById("log-box").scrollTop]);
    const stands = window.stood?.place === place;
    window.stood = stands ? { ...window.stood, times: window.stood.times + 1 } : { place, times: 0, since: window.frames };
    return window.stood.times >= 4 && window.frames >= window.stood.since + 5;
  }, null, { polling: 100 });
};
const top = (page) => page.evaluate(() => document.getElementById("log-box").scrollTop);
const wheel = async (page, y) => { await page.mouse.move(600, 600); await page.mouse.wheel(0, y); };
const isGapless = (all) => all.every((position, at) => at === 0 || position === all[at - 1] + 1);

const tests = {
  async "fifty thousand lines stay fluent"() {
    const page = await opened(told.ended);
    await shows(page, told.lines);
    await page.evaluate(() => { window.longest = 0; });
    let most = 0;
    for (let at = 0; at < 60; at += 1) {
      await wheel(page, at < 40 ? -4000 : -40000);
      await page.waitForTimeout(30);
      most = Math.max(most, await page.evaluate(() => document.querySelectorAll("#log *").length));
    }
    for (const to of [1, 49000, 100, 25000, 7]) {
      await page.evaluate((top) => { document.getElementById("log-box").scrollTop = top * 20; }, to);
      await page.waitForFunction(() => window.seen().length > 20);
      const seen = await page.evaluate(() => window.seen());
      holds("no line is missing", isGapless(seen), seen);
    }
    const longest = await page.evaluate(() => window.longest);
    // How long a task takes depends on what else the machine does; what it takes to be short is that the elements are few.
    console.error(`    at most ${most} elements, the longest task ${Math.round(longest)} ms`);
    holds("a bounded number of elements", most < 4000, most);
    await closed(page);
  },
  async "it begins at its end, however late the first frame is"() {
    const page = await opened(told.ended, "", () => { window.late = 1500; });
    await shows(page, told.lines);
    await page.evaluate(() => { window.late = 0; location.hash = "#L4321"; });
    await shows(page, 4321);
    await still(page);
    const first = await page.evaluate(() => window.seen()[0]);
    await page.evaluate(() => history.replaceState(null, "", location.pathname));
    await page.reload();
    await shows(page, first);
    await still(page);
    holds("a reload keeps the place", Math.abs(await page.evaluate(() => window.seen()[0]) - first) <= 1, [first, await page.evaluate(() => window.seen())]);
    await closed(page);
  },
  async "a selection stays although the steps are read late"() {
    let go;
    const selected = new Promise((done) => { go = done; });
    const page = await opened(told.ended, "#L10010", null, async (route) => { await selected; await route.continue(); });
    await shows(page, 10010);
    holds("no step can be folded yet", await page.locator("#log-fold").isDisabled());
    await page.evaluate(() => getSelection().selectAllChildren(document.querySelector("#L10010 .log-t")));
    go();
    await page.locator("#L10001 .log-step").waitFor();
    same("the selection", await page.evaluate(() => String(getSelection())), "line 10010 of a program");
    await closed(page);
  },
  async "a line has an address"() {
    const page = await opened(told.ended, "#L12345");
    await shows(page, 12345);
    same("it is marked", await page.locator(".is-target").evaluateAll((all) => all.map((line) => line.id)), ["L12345"]);
    same("its text", await page.locator("#L12345 .log-t").textContent(), "line 12345 of a program");
    await page.evaluate(() => { location.hash = "#L40000"; });
    await shows(page, 40000);
    await page.locator("#L40001 .log-n").click();
    same("a click makes the address", await page.evaluate(() => location.hash), "#L40001");
    await page.locator("#log-text").fill("#777");
    await page.keyboard.press("Enter");
    await shows(page, 777);
    await closed(page);
  },
  async "search finds what is folded, anywhere"() {
    const page = await opened(told.ended);
    await page.locator("#log-fold:enabled").waitFor();
    await page.locator("#log-fold").click();
    await page.waitForFunction(() => document.querySelectorAll("#log-list .log-line").length < 30);
    await page.keyboard.press("/");
    await page.keyboard.type("NEEDLE");
    await page.waitForFunction(() => document.getElementById("log-count").value === "1 of 3" || document.getElementById("log-count").value === "1 von 3");
    for (const line of [5000, 23456, 49000]) {
      await shows(page, line);
      same("it is marked", (await page.locator(`#L${line} mark`).textContent()).toLowerCase(), "needle");
      await page.keyboard.press("Enter");
    }
    await shows(page, 5000);
    await page.keyboard.press("Shift+Enter");
    await shows(page, 49000);
    await closed(page);
  },
  async "lines forge nothing"() {
    const page = await opened(told.ended);
    for (const [position, text] of told.hostile) {
      await page.evaluate((to) => { location.hash = `#L${to}`; }, position);
      await shows(page, position);
      same("the text is text", await page.locator(`#L${position} .log-t`).textContent(), text);
    }
    const forged = () => [window.forged ?? null, document.querySelectorAll("#log-list :is(img, script, style, iframe, b)").length];
    same("no element comes of it", await page.evaluate(forged), [null, 0]);
    await closed(page);
  },
  async "following stops when one scrolls up, and says what is new"() {
    const page = await opened(told.live);
    await shows(page, await write(300));
    // A selection stays although thousands of lines follow.
    const chosen = await page.evaluate(() => {
      const line = document.querySelector(`#L${window.seen().at(-2)} .log-t`);
      getSelection().selectAllChildren(line);
      return line.textContent;
    });
    await shows(page, await write(3000));
    same("the selection", await page.evaluate(() => String(getSelection())), chosen);
    await page.evaluate(() => getSelection().removeAllRanges());
    const bottom = await top(page);
    await wheel(page, -3000);
    await page.waitForFunction((from) => document.getElementById("log-box").scrollTop < from - 100, bottom);
    await still(page);
    const before = await page.evaluate(() => [window.seen()[0], document.getElementById("log-box").scrollTop]);
    const last = await write(1234);
    const more = page.locator("#log-more");
    await page.waitForFunction(() => /1[.,]?234/.test(document.getElementById("log-more").textContent));
    same("what is read stays", await page.evaluate(() => [window.seen()[0], document.getElementById("log-box").scrollTop]), before);
    await more.click();
    await shows(page, last);
    holds("it follows again", await more.isHidden());
    await shows(page, await write(10));
    await closed(page);
  },
  async "one goes to lines that came in one frame"() {
    const page = await opened(told.live);
    // The tenth line of a hundred, which become elements together.
    const seen = await write(110 - await write(1) % 100);
    await shows(page, seen);
    await still(page);
    await page.evaluate(() => { window.late = 3000; });
    const last = await write(1500);
    await page.waitForFunction((wanted) => window.flowed >= wanted, last);
    await page.evaluate(() => { window.late = 0; });
    await shows(page, last);
    for (const line of [seen + 85, seen + 140, seen + 1, seen]) {
      await page.evaluate((to) => { location.hash = `#L${to}`; }, line);
      await shows(page, line);
    }
    await closed(page);
  },
  async "it catches up by number, after a hidden tab and a broken line"() {
    const page = await opened(told.live);
    await shows(page, await write(1));
    same("one stream", await page.evaluate(() => window.open_sockets()), 1);
    await page.evaluate(() => window.hide(true));
    await page.waitForFunction(() => window.open_sockets() === 0);
    const missed = await write(2500);
    await page.evaluate(() => window.hide(false));
    await shows(page, missed);
    await page.evaluate(() => window.sockets.at(-1).close());
    const broken = await write(700);
    await shows(page, broken);
    for (const back of [0, 300, 900, 1500, 2600]) {
      await page.evaluate((to) => { location.hash = `#L${to}`; }, broken - back);
      await shows(page, broken - back);
      const seen = await page.evaluate(() => window.seen());
      holds("no line is missing", isGapless(seen) && seen.length > 10, seen);
    }
    same("one stream", await page.evaluate(() => window.open_sockets()), 1);
    await closed(page);
  },
  async "seven tabs follow, and an eighth page loads"() {
    const pages = [];
    for (let at = 0; at < 7; at += 1) pages.push(await opened(told.live));
    const last = await write(5);
    for (const page of pages) await page.waitForFunction((wanted) => document.getElementById(`L${wanted}`), last);
    const began = Date.now();
    const eighth = await opened(told.ended);
    console.error(`    the eighth page after ${Date.now() - began} ms`);
    await closed(eighth);
    for (const page of pages) await closed(page);
  },
  async "wrapping keeps the place, on a phone too"() {
    const page = await opened(told.ended, "#L20000");
    await shows(page, 20000);
    await still(page);
    const first = await page.evaluate(() => window.seen()[0]);
    const wrap = page.locator("#log-wrap");
    for (const pressed of ["false", "true"]) {
      await wrap.click();
      same("the mode", await wrap.getAttribute("aria-pressed"), pressed);
      await still(page);
      holds("the place", Math.abs(await page.evaluate(() => window.seen()[0]) - first) <= 1);
    }
    await page.setViewportSize({ width: 380, height: 700 });
    await still(page);
    holds("no line is missing", isGapless(await page.evaluate(() => window.seen())));
    holds("the page is not wider than the screen", await page.evaluate(() => document.documentElement.scrollWidth <= 380));
    holds("the place", Math.abs(await page.evaluate(() => window.seen()[0]) - first) <= 2, [first, await page.evaluate(() => window.seen()[0])]);
    await closed(page);
  },
  async "without script the last lines are there, and a link to all"() {
    const plain = await browser.browser()?.newContext({ javaScriptEnabled: false }) ?? await (await chromium.launch({ executablePath: "/usr/bin/chromium", args: flags })).newContext({ javaScriptEnabled: false });
    await plain.addCookies([{ ...told.cookie, url: told.url }]);
    const page = await plain.newPage();
    await page.goto(`${told.url}/deployments/${told.ended}`);
    same("the last lines", await page.locator("#log-list .log-line").count(), 200);
    holds("the tools need a script", await page.locator("#log-tools").isHidden());
    const href = await page.locator("#log-before a").getAttribute("href");
    const text = await (await plain.request.get(`${told.url}${href}`)).text();
    same("the whole text", text.trimEnd().split("\n").length, told.lines);
    await plain.browser().close();
  },
};

let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  if (only && !name.includes(only)) continue;
  const began = Date.now();
  try {
    await test();
    console.error(`ok   ${name} (${Date.now() - began} ms)`);
  } catch (error) {
    failed += 1;
    console.error(`FAIL ${name}: ${error.stack}`);
    const page = browser.pages().at(-1);
    await page?.screenshot({ path: `/tmp/tagalong-log-failed-${failed}.png` }).catch(() => {});
  }
}
await browser.close();
rmSync(profile, { recursive: true, force: true });
process.exit(failed ? 1 : 0);
