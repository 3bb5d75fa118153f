// What a page does beyond showing itself: times in the reader's zone, and parts that stay fresh. Without it the page says the same, in UTC
// and as of when it was opened.
"use strict";
(() => {
  const DAY_S = 86400;
  const at = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
  const utc = (date) => date.toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");

  const ago = (date) => {
    const s = Math.max(0, Math.round((Date.now() - date.getTime()) / 1000));
    if (s < 60) return `${s} s ago`;
    if (s < 3600) return `${Math.floor(s / 60)} min ago`;
    if (s < DAY_S) return `${Math.floor(s / 3600)} h ago`;
    if (s < 14 * DAY_S) return `${Math.floor(s / DAY_S)} d ago`;
    return at.format(date);
  };

  const localise = (root) => {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const date = new Date(time.dateTime);
      if (Number.isNaN(date.getTime())) continue;
      const text = time.hasAttribute("data-ago") ? ago(date) : at.format(date);
      if (time.textContent !== text) time.textContent = text;
      time.title = `${exact.format(date)} · ${utc(date)}`;
    }
  };

  // Parts are compared as the server sent them, not as they look after this script was over them.
  const sent = new Map();
  for (const part of document.querySelectorAll("[data-fresh]")) sent.set(part.id, part.innerHTML);

  const zone = document.getElementById("zone");
  if (zone) zone.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
  localise(document);

  // On a narrow screen the bar may be longer than it is wide.
  const tab = document.querySelector(".tabs [aria-current]");
  if (tab) tab.parentElement.scrollLeft = tab.offsetLeft - (tab.parentElement.clientWidth - tab.offsetWidth) / 2;

  // A menu closes by Escape and by a click beside it.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });

  // A filter takes effect when it is chosen.
  for (const select of document.querySelectorAll("form[data-at-once] select")) {
    select.addEventListener("change", () => select.form.requestSubmit());
  }

  const main = document.getElementById("main");
  const everyMs = Number(main?.dataset.freshS || 0) * 1000;
  setInterval(() => { if (!document.hidden) localise(document); }, 20000);
  if (!everyMs) return;

  const stale = document.getElementById("stale");
  let timer = 0;
  let failures = 0;

  const isInUse = (part) => {
    const here = document.activeElement;
    if (part.contains(here) && here.matches("input, select, textarea")) return true;
    if (part.querySelector("details[open]")) return true;
    const isSet = (field) => field.checked !== field.defaultChecked || field.value !== field.defaultValue;
    if ([...part.querySelectorAll("input")].some(isSet)) return true;
    const selection = getSelection();
    return Boolean(selection && !selection.isCollapsed && part.contains(selection.anchorNode));
  };

  const take = (page) => {
    for (const fresh of page.querySelectorAll("[data-fresh]")) {
      const part = document.getElementById(fresh.id);
      if (!part) continue;
      const text = fresh.innerHTML;
      if (sent.get(fresh.id) === text || isInUse(part)) continue;
      sent.set(fresh.id, text);
      const here = part.contains(document.activeElement) ? document.activeElement : null;
      const again = here && (here.getAttribute("href") || here.getAttribute("formaction"));
      part.className = fresh.className;
      part.replaceChildren(...fresh.childNodes);
      localise(part);
      if (again) part.querySelector(`[href="${CSS.escape(again)}"], [formaction="${CSS.escape(again)}"]`)?.focus({ preventScroll: true });
    }
    if (page.title) document.title = page.title;
  };

  const look = async () => {
    try {
      const answer = await fetch(location.href, { headers: { "x-refresh": "1" }, redirect: "manual", cache: "no-store" });
      if (answer.type === "opaqueredirect" || answer.status === 401) return location.reload();
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      take(page);
      failures = 0;
      if (stale) stale.textContent = "";
      // The page has come to its end: nothing of it will change.
      if (!Number(page.getElementById("main")?.dataset.freshS || 0)) return;
    } catch {
      failures += 1;
      if (stale && failures > 1) stale.textContent = " · the server does not answer, this is what it said last";
    }
    plan(everyMs * Math.min(1 + failures, 6));
  };

  const plan = (ms) => {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(look, ms);
  };
  document.addEventListener("visibilitychange", () => { if (document.hidden) clearTimeout(timer); else plan(0); });
  plan(everyMs);
})();
