// The log of the dashboard in a real Firefox, which speaks WebDriver BiDi: called by tests/api/log_page.rs as log.mjs is, with the same words.
//
//   node tests/rig/firefox.mjs '{"url": …, "cookie": {name, value}, "ended": ID, "lines": N, "live": ID, …}'
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { spawn } from "node:child_process";
import { homedir } from "node:os";
import { mkdtempSync, rmSync } from "node:fs";

const rig = process.env.TAGALONG_RIG || `${process.env.XDG_CACHE_HOME || `${homedir()}/.cache`}/tagalong-rig`;
const { ws: WebSocket } = createRequire(`${rig}/npm/`)("playwright-core/lib/utilsBundle");
const told = JSON.parse(process.argv[2]);
const replies = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const write = async (count) => { console.log(`write ${count}`); return Number((await replies.next()).value); };
const holds = (what, value, more) => { if (!value) throw new Error(`${what}${more === undefined ? "" : `: ${JSON.stringify(more)}`}`); };
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

const profile = mkdtempSync("/tmp/tagalong-firefox-");
const firefox = spawn("firefox-esr", ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"], { stdio: ["ignore", "ignore", "pipe"] });
const address = await new Promise((found, missing) => {
  createInterface({ input: firefox.stderr }).on("line", (line) => { const said = /listening on (ws:\S+)/.exec(line); if (said) found(said[1]); });
  setTimeout(() => missing(new Error("Firefox does not listen")), 60000);
});
const line = new WebSocket(`${address}/session`);
await new Promise((open, broken) => { line.on("open", open); line.on("error", broken); });
const asked = new Map();
line.on("message", (text) => {
  const answer = JSON.parse(text);
  if (asked.has(answer.id)) asked.get(answer.id)(answer);
});
let number = 0;
const send = (method, params) => new Promise((done, failed) => {
  number += 1;
  asked.set(number, (answer) => (answer.type === "success" ? done(answer.result) : failed(new Error(`${method}: ${answer.message}`))));
  line.send(JSON.stringify({ id: number, method, params }));
});
let failed = 0;
try {
  await send("session.new", { capabilities: {} });
  const [{ context }] = (await send("browsingContext.getTree", {})).contexts;
  const evaluate = async (expression) => {
    const answer = await send("script.evaluate", { expression: `(async () => JSON.stringify(await (${expression})))()`, target: { context }, awaitPromise: true, resultOwnership: "none" });
    if (answer.type === "exception") throw new Error(answer.exceptionDetails.text);
    return answer.result.value === undefined ? undefined : JSON.parse(answer.result.value);
  };
  const until = async (what, expression) => {
    for (const end = Date.now() + 60000; Date.now() < end; await pause(50)) if (await evaluate(expression)) return;
    throw new Error(`waited too long for ${what}`);
  };
  const shows = (position) => until(`line ${position}`, `window.seen().includes(${position})`);
  const { hostname } = new URL(told.url);
  const cookie = { name: told.cookie.name, value: { type: "string", value: told.cookie.value }, domain: hostname, path: "/" };
  await send("storage.setCookie", { cookie });
  const open = async (id) => {
    await send("browsingContext.navigate", { context, url: `${told.url}/deployments/${id}`, wait: "complete" });
    await evaluate(`(() => {
      window.seen = () => { const edge = document.getElementById("log-box").getBoundingClientRect();
        return [...document.querySelectorAll("#log-list .log-line")].filter((one) => { const at = one.getBoundingClientRect(); return at.bottom > edge.top + 1 && at.top < edge.bottom - 1 && at.height > 0; }).map((one) => Number(one.dataset.p)); };
      window.longest = 0; let last = performance.now();
      const frame = (now) => { window.longest = Math.max(window.longest, now - last); last = now; requestAnimationFrame(frame); };
      requestAnimationFrame(frame);
    })()`);
  };
  await open(told.ended);
  await shows(told.lines);
  await evaluate("void (window.longest = 0)");
  let most = 0;
  for (const to of [1, 49000, 100, 25000, 7, 33333, 12345]) {
    await evaluate(`void (location.hash = "#L${to}")`);
    await shows(to);
    const seen = await evaluate("window.seen()");
    holds("no line is missing", seen.length > 5 && seen.every((position, at) => at === 0 || position === seen[at - 1] + 1), seen);
    most = Math.max(most, await evaluate("document.querySelectorAll('#log *').length"));
  }
  for (let at = 0; at < 40; at += 1) await evaluate("void (document.getElementById('log-box').scrollTop += 4000)");
  const longest = await evaluate("window.longest");
  console.error(`    Firefox: at most ${most} elements, the longest time between two frames ${Math.round(longest)} ms`);
  holds("a bounded number of elements", most < 4000, most);
  await evaluate(`void ((field) => { field.value = "NEEDLE"; field.dispatchEvent(new Event("input", { bubbles: true })); })(document.getElementById("log-text"))`);
  await until("the three matches", `/^1 \\S+ 3$/.test(document.getElementById("log-count").value)`);
  await open(told.live);
  await shows(await write(300));
  console.error("ok   fifty thousand lines in Firefox");
} catch (error) {
  failed = 1;
  console.error(`FAIL Firefox: ${error.stack}`);
}
line.close();
firefox.kill();
await new Promise((gone) => firefox.on("exit", gone));
rmSync(profile, { recursive: true, force: true });
process.exit(failed);
