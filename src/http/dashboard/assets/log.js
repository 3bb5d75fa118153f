// The log of a deployment, whole and live. Only the lines around what is seen are elements of the page; the others are asked for when one
// scrolls there. Without this script the page has the last lines, and a link to the whole text.
"use strict";
(() => {
  const root = document.getElementById("log");
  if (!root) return;
  const part = (name) => document.getElementById(`log-${name}`);
  const box = part("box");
  const list = part("list");
  const more = part("more");
  const base = `/deployments/${root.dataset.id}/log`;

  // A chunk is what becomes elements at a time, a block what is asked for at a time; both begin at fixed positions.
  const CHUNK = 100;
  const BLOCK = 500;
  const ASKED_AT_ONCE = 2;
  // How much text is kept: the rest is asked for again when it is seen.
  const KEPT_CHARS = 16e6;
  // How far above and below what is seen there are elements.
  const AROUND_PX = 600;
  const MOST_FOUND = 20000;
  // A stream that says nothing for so long is broken: a living one says something every 10 s.
  const SILENT_MS = 35000;
  const POLL_MS = 3000;

  const chunks = new Map(); // number → { lines, through, chars, used }
  const heights = new Map(); // number → { px, through }, as measured with the lines through that position
  const nodes = new Map(); // number → element
  const folded = new Set(); // positions of steps
  let steps = []; // positions of the lines that begin a step
  let last = Number(root.dataset.last); // the last line that is known to be there
  let isLive = root.dataset.live === "true";
  let isFollowing = isLive;
  let leftAt = last; // the last line when following was stopped
  let rowPx = 20;
  let aim = 0; // the line that is to be shown as soon as it is there
  let aimAt = 0; // how far down it is to be shown: 0 is the top of what is seen, 1 its end
  let target = 0; // the line that the address names
  let clock = 0;

  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
  const number = new Intl.NumberFormat();
  const stored = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
  const store = (name, value) => { try { localStorage.setItem(name, value); } catch { /* It lasts as long as this page. */ } };
  const words = (count, one, many) => `${number.format(count)} ${count === 1 ? one : many}`;

  // ---- What is known ----

  const chunkOf = (position) => Math.floor((position - 1) / CHUNK);
  const startOf = (chunk) => chunk * CHUNK;
  const endOf = (chunk) => (chunk + 1) * CHUNK;
  const count = () => Math.ceil(last / CHUNK);
  const isWhole = (chunk) => (chunks.get(chunk)?.through ?? -1) >= Math.min(endOf(chunk), last);

  const keep = (chunk, lines, through) => {
    const old = chunks.get(chunk);
    if (old && old.through >= through) return;
    const chars = lines.reduce((sum, line) => sum + line.text.length + 60, 0);
    chunks.set(chunk, { lines, through, chars, used: ++clock });
  };

  const forget = () => {
    let chars = 0;
    for (const chunk of chunks.values()) chars += chunk.chars;
    if (chars <= KEPT_CHARS) return;
    const unseen = [...chunks].filter(([chunk]) => !nodes.has(chunk) && chunk !== chunkOf(Math.max(last, 1)));
    unseen.sort((a, b) => a[1].used - b[1].used);
    for (const [chunk, { chars: less }] of unseen) {
      if (chars <= KEPT_CHARS / 2) break;
      chunks.delete(chunk);
      chars -= less;
    }
  };

  // The lines behind `after`, from an answer to a question for at most `limit`.
  const take = (after, limit, answer) => {
    const lines = answer.lines;
    const end = lines.length ? lines[lines.length - 1].position : after;
    const through = lines.length < limit ? Math.max(end, answer.last) : end;
    for (let chunk = chunkOf(after + 1); startOf(chunk) < through; chunk += 1) {
      keep(chunk, lines.filter((line) => chunkOf(line.position) === chunk), Math.min(endOf(chunk), through));
    }
    if (answer.last > last) last = answer.last;
    return through;
  };

  // Lines of the stream, which come in order. `flowed` is the last of them.
  let flowed = last;
  const flow = (line) => {
    const position = line.position;
    if (position <= flowed) return;
    const chunk = chunkOf(position);
    const before = flowed > 0 ? chunkOf(flowed) : -1;
    const open = chunks.get(before);
    if (before >= 0 && before < chunk && open && open.through >= flowed) open.through = endOf(before);
    const here = chunks.get(chunk);
    if (here && here.through >= flowed && here.through < position) {
      here.lines.push(line);
      here.through = position;
      here.chars += line.text.length + 60;
    } else if (!here && startOf(chunk) >= flowed) {
      keep(chunk, [line], position);
    }
    flowed = position;
    last = Math.max(last, position);
    if (line.kind === "step" && stepsThrough >= 0) addStep(position);
    search.flow(line);
  };

  // ---- Questions ----

  const ask = async (path, signal) => {
    const answer = await fetch(base + path, { redirect: "manual", cache: "no-store", signal });
    if (answer.type === "opaqueredirect" || answer.status === 401) {
      loggedOut();
      throw new Error("logged out");
    }
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    return answer.json();
  };

  const asking = new Set();
  let restUntil = 0;
  const fetchBlock = async (block) => {
    asking.add(block);
    try {
      const after = block * BLOCK;
      take(after, BLOCK, await ask(`/lines?after=${after}&limit=${BLOCK}`));
      forget();
      if (restUntil) say();
      restUntil = 0;
    } catch {
      restUntil = Date.now() + 2000;
      say("Some lines could not be read; trying again…");
      setTimeout(draw, 2100);
    } finally {
      asking.delete(block);
      draw();
    }
  };

  const missing = (wanted) => {
    if (Date.now() < restUntil) return;
    for (const chunk of wanted) {
      const block = Math.floor(startOf(chunk) / BLOCK);
      if (!isWhole(chunk) && !asking.has(block) && asking.size < ASKED_AT_ONCE) fetchBlock(block);
    }
  };

  // ---- Folding ----

  let stepsThrough = -1;
  const addStep = (position) => {
    if (!steps.includes(position)) steps.push(position);
    steps.sort((a, b) => a - b);
    part("fold").disabled = false;
  };

  // The lines that folded steps hide: [from, to], without the line that begins the step.
  const gaps = () => {
    const found = [];
    for (let i = 0; i < steps.length; i += 1) {
      if (folded.has(steps[i])) found.push([steps[i] + 1, (steps[i + 1] ?? last + 1) - 1]);
    }
    return found;
  };
  const isHidden = (position, hidden) => hidden.some(([from, to]) => from <= position && position <= to);
  const stepOf = (position) => steps.findLast((step) => step < position);

  const fold = (change) => {
    const at = anchor();
    change();
    heights.clear();
    for (const [chunk, node] of nodes) fill(node, chunk, true);
    part("fold").setAttribute("aria-pressed", String(folded.size > 0));
    part("fold").textContent = folded.size > 0 ? "Unfold steps" : "Fold steps";
    draw(at);
  };

  const readSteps = async () => {
    try {
      for (let after = 0; ;) {
        const found = await ask(`/search?kind=step&after=${after}`);
        found.positions.forEach(addStep);
        after = found.through;
        if (found.is_whole) break;
      }
      stepsThrough = last;
      // The lines themselves stay the elements that they are: somebody may have selected some meanwhile.
      for (const line of list.querySelectorAll(".k-step")) {
        const text = line.querySelector(".log-t");
        if (!text.querySelector(".log-step")) text.prepend(foldButton(Number(line.dataset.p), text.textContent));
      }
      draw();
    } catch { /* The steps cannot be folded then. */ }
  };

  // ---- Elements ----

  const element = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const marked = (into, text) => {
    const sought = search.text;
    const low = sought ? text.toLowerCase() : "";
    // Where lower case is longer, positions in it are not positions in the text.
    if (!sought || low.length !== text.length || !low.includes(sought)) {
      into.append(text);
      return;
    }
    let at = 0;
    for (let found = low.indexOf(sought); found >= 0; found = low.indexOf(sought, at)) {
      into.append(text.slice(at, found), element("mark", "", text.slice(found, found + sought.length)));
      at = found + sought.length;
    }
    into.append(text.slice(at));
  };

  const foldButton = (position, text) => {
    const button = element("button", "log-step", folded.has(position) ? "▸" : "▾");
    button.type = "button";
    button.setAttribute("aria-expanded", String(!folded.has(position)));
    button.setAttribute("aria-label", `Lines of the step ${text}`);
    return button;
  };

  const lineElement = (line) => {
    const position = line.position;
    const made = element("div", `log-line k-${line.kind}`);
    made.id = `L${position}`;
    made.dataset.p = position;
    const link = element("a", "log-n", String(position));
    link.href = `#L${position}`;
    link.tabIndex = -1;
    const date = new Date(line.at_ms);
    const at = element("time", "log-at", time.format(date));
    at.title = `${whole.format(date)} · ${date.toISOString()}`;
    const text = element("span", "log-t");
    if (line.kind === "step" && stepsThrough >= 0) text.append(foldButton(position, line.text));
    marked(text, line.text);
    if (folded.has(position)) {
      const end = steps.find((step) => step > position) ?? last + 1;
      text.append(element("span", "log-folded", words(end - position - 1, "line", "lines")));
    }
    made.append(link, at, text);
    if (position === target) made.classList.add("is-target");
    if (position === search.here) made.classList.add("is-here");
    return made;
  };

  // Puts the lines of a chunk into its element. Elements of lines that are there stay as they are, so a selection in them stays too.
  const fill = (node, chunk, isAnew) => {
    const known = chunks.get(chunk);
    const there = Number(node.dataset.through ?? -1);
    if (!isAnew && known && there === known.through) return false;
    if (isAnew) node.replaceChildren();
    const hidden = gaps();
    const fresh = document.createDocumentFragment();
    for (const line of known?.lines ?? []) {
      if ((isAnew || line.position > there) && !isHidden(line.position, hidden)) fresh.append(lineElement(line));
    }
    node.append(fresh);
    node.dataset.through = known?.through ?? -1;
    heights.delete(chunk);
    return true;
  };

  const rows = (chunk, hidden) => {
    const from = startOf(chunk) + 1;
    const to = Math.min(endOf(chunk), last);
    let left = to - from + 1;
    for (const [first, final] of hidden) left -= Math.max(0, Math.min(to, final) - Math.max(from, first) + 1);
    return Math.max(0, left);
  };

  // What was measured counts as long as no line has come to the chunk since.
  const height = (chunk) => {
    const measured = heights.get(chunk);
    return measured && measured.through >= Math.min(endOf(chunk), last) ? measured.px : undefined;
  };
  const takeHeight = (chunk, made) => heights.set(chunk, { px: made.getBoundingClientRect().height, through: Number(made.dataset.through) });

  const offsets = () => {
    const hidden = gaps();
    const found = [0];
    for (let chunk = 0; chunk < count(); chunk += 1) found.push(found[chunk] + (height(chunk) ?? rows(chunk, hidden) * rowPx));
    return found;
  };

  // About where a line is that has no element yet; always within its chunk, so that who goes there sees the chunk.
  const topOf = (position, found) => {
    const chunk = chunkOf(position);
    if (chunk >= count()) return found[found.length - 1];
    const hidden = gaps();
    let above = 0;
    for (let line = startOf(chunk) + 1; line < position; line += 1) if (!isHidden(line, hidden)) above += 1;
    return Math.min(found[chunk] + above * rowPx, Math.max(found[chunk], found[chunk + 1] - rowPx));
  };

  const chunkAt = (found, y) => {
    let low = 0;
    let high = found.length - 2;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (found[middle] <= y) low = middle; else high = middle - 1;
    }
    return Math.max(0, low);
  };

  // What is at the top of what is seen, to find it there again.
  const anchor = () => {
    const edge = box.getBoundingClientRect();
    const seen = document.elementFromPoint(edge.left + 12, edge.top + 3)?.closest?.(".log-line");
    if (seen && list.contains(seen)) return { line: seen.id, y: seen.getBoundingClientRect().top - edge.top };
    const found = offsets();
    const chunk = chunkAt(found, box.scrollTop);
    return { chunk, within: box.scrollTop - found[chunk] };
  };

  const put = (top) => {
    box.scrollTop = top;
    ownTop = box.scrollTop;
  };

  const restore = (at, found) => {
    if (at.line) {
      const again = document.getElementById(at.line);
      if (again) {
        const moved = again.getBoundingClientRect().top - box.getBoundingClientRect().top - at.y;
        if (Math.abs(moved) > 0.5) put(box.scrollTop + moved);
      }
    } else if (at.chunk < found.length - 1) {
      const top = found[at.chunk] + at.within;
      if (Math.abs(top - box.scrollTop) > 0.5) put(top);
    }
  };

  // What must stay as it is although it is out of sight: a selection, and what has the focus.
  const pinned = () => {
    const kept = new Set();
    const chunkWith = (node) => (node?.nodeType === 1 ? node : node?.parentElement)?.closest?.(".log-chunk");
    const selection = getSelection();
    if (selection && !selection.isCollapsed) {
      const ends = [chunkWith(selection.anchorNode), chunkWith(selection.focusNode)].filter((node) => node && list.contains(node));
      const numbers = ends.map((node) => Number(node.dataset.chunk));
      if (numbers.length) {
        const from = Math.min(...numbers);
        const to = Math.max(...numbers);
        if (to - from <= 50) for (let chunk = from; chunk <= to; chunk += 1) kept.add(chunk);
        else numbers.forEach((chunk) => kept.add(chunk));
      }
    }
    const focused = chunkWith(document.activeElement);
    if (focused && list.contains(focused)) kept.add(Number(focused.dataset.chunk));
    return kept;
  };

  const node = (chunk) => {
    const made = element("div", "log-chunk");
    made.dataset.chunk = chunk;
    const next = [...nodes.keys()].filter((other) => other > chunk).sort((a, b) => a - b)[0];
    list.insertBefore(made, next === undefined ? null : nodes.get(next));
    nodes.set(chunk, made);
    return made;
  };

  const waiting = new Map();
  // A chunk whose lines are not there yet has a place, and says that they come.
  const showWaiting = (chunk, isWaiting) => {
    const shown = waiting.get(chunk);
    if (isWaiting && !shown) {
      const made = element("div", "log-wait");
      made.setAttribute("aria-hidden", "true");
      list.append(made);
      waiting.set(chunk, made);
    } else if (!isWaiting && shown) {
      shown.remove();
      waiting.delete(chunk);
    }
  };

  const seenChunks = (found) => {
    const from = chunkAt(found, box.scrollTop - AROUND_PX);
    const to = chunkAt(found, box.scrollTop + box.clientHeight + AROUND_PX);
    const seen = [];
    for (let chunk = from; chunk <= to && chunk < count(); chunk += 1) seen.push(chunk);
    return seen;
  };

  const place = (found) => {
    list.style.height = `${found[found.length - 1]}px`;
    for (const [chunk, made] of nodes) made.style.top = `${found[chunk]}px`;
    for (const [chunk, made] of waiting) {
      made.style.top = `${found[chunk]}px`;
      made.style.height = `${found[chunk + 1] - found[chunk]}px`;
    }
  };

  let drawing = 0;
  let anchored = null;
  let rested = { chunk: 0, within: 0 }; // what was at the top when all was drawn
  let ownTop = 0;
  const draw = (at) => {
    if (at) anchored = at;
    if (!drawing) drawing = requestAnimationFrame(drawNow);
  };

  const drawNow = () => {
    drawing = 0;
    const at = anchored ?? anchor();
    anchored = null;
    let found = offsets();
    // The heights of what becomes elements are known only then, and change what is seen: this settles at once, or in the next frame.
    for (let round = 0; round < 4; round += 1) {
      list.style.height = `${found[found.length - 1]}px`;
      if (isFollowing) put(box.scrollHeight);
      const seen = seenChunks(found);
      const wanted = pinned();
      seen.forEach((chunk) => wanted.add(chunk));
      for (const [chunk, made] of nodes) {
        if (!wanted.has(chunk)) {
          made.remove();
          nodes.delete(chunk);
        }
      }
      for (const chunk of waiting.keys()) if (!wanted.has(chunk)) showWaiting(chunk, false);
      let isChanged = false;
      for (const chunk of wanted) {
        const known = chunks.get(chunk);
        if (known) {
          known.used = ++clock;
          if (fill(nodes.get(chunk) ?? node(chunk), chunk, false)) isChanged = true;
        }
        showWaiting(chunk, !known);
      }
      missing(seen);
      place(found);
      if (!isChanged) break;
      for (const [chunk, made] of nodes) {
        // What is not whole yet has the room of the lines that are to come.
        if (height(chunk) === undefined && isWhole(chunk)) takeHeight(chunk, made);
      }
      found = offsets();
      place(found);
      if (isFollowing) put(box.scrollHeight);
      else if (!aim) restore(at, found);
    }
    show(found);
    rested = anchor();
    tell();
  };

  // Goes to the line that is aimed at, as soon as its element is there.
  const show = (found) => {
    if (!aim) return;
    const line = document.getElementById(`L${aim}`);
    if (!line || !list.contains(line)) {
      const chunk = chunkOf(aim);
      if (chunk < count() && isWhole(chunk) && nodes.has(chunk)) aim = 0;
      else if (!nodes.has(chunk)) {
        const before = box.scrollTop;
        put(topOf(aim, found) - box.clientHeight * aimAt);
        if (Math.abs(box.scrollTop - before) > 1) draw();
      }
      return;
    }
    const edge = box.getBoundingClientRect();
    const rect = line.getBoundingClientRect();
    put(box.scrollTop + rect.top - edge.top - (box.clientHeight - rect.height) * aimAt);
    aim = 0;
    draw();
  };

  const goTo = (position, share = 1 / 3) => {
    const wanted = Math.min(Math.max(1, position), Math.max(1, last));
    const step = stepOf(wanted);
    if (step !== undefined && folded.has(step)) fold(() => folded.delete(step));
    stopFollowing();
    aim = wanted;
    aimAt = share;
    const found = offsets();
    // The list may not have been drawn yet with all the lines that are known, and nobody scrolls further than it is high.
    place(found);
    put(topOf(wanted, found) - box.clientHeight * aimAt);
    drawNow();
  };

  // ---- Following ----

  const stopFollowing = () => {
    if (isFollowing) leftAt = last;
    isFollowing = false;
  };
  const follow = () => {
    isFollowing = true;
    aim = 0;
    draw();
  };

  const tell = () => {
    const fresh = last - leftAt;
    const isBehind = !isFollowing && (isLive || fresh > 0);
    more.hidden = !isBehind;
    const text = fresh > 0 ? `↓ ${words(fresh, "new line", "new lines")}` : "↓ Follow";
    if (isBehind && more.textContent !== text) more.textContent = text;
  };

  const isAtEnd = () => box.scrollHeight - box.scrollTop - box.clientHeight < 6;
  box.addEventListener("scroll", () => {
    // What this script has set itself is no wish of the reader.
    const moved = box.scrollTop - ownTop;
    if (Math.abs(moved) > 1) {
      ownTop = box.scrollTop;
      aim = 0;
      if (moved < 0 || !isAtEnd()) stopFollowing();
      else if (isLive) isFollowing = true;
      else leftAt = last;
    }
    draw();
  }, { passive: true });
  more.addEventListener("click", () => { leftAt = last; follow(); box.focus({ preventScroll: true }); });
  box.addEventListener("keydown", (event) => {
    if (event.target !== box || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "End") { event.preventDefault(); if (isLive) follow(); else goTo(last, 1); }
    if (event.key === "Home") { event.preventDefault(); goTo(1); }
  });

  // ---- The stream: one, and none while the page is hidden ----

  let socket = null;
  let attempts = 0;
  let retry = 0;
  let heardAt = 0;
  let isOut = false;

  const state = part("state");
  const say = (text) => {
    const now = text ?? (isLive ? `live · times in ${zone}` : `${words(last, "line", "lines")} · times in ${zone}`);
    if (state.textContent !== now) state.textContent = now;
  };
  const loggedOut = () => {
    isOut = true;
    state.replaceChildren("Your session has ended; ", Object.assign(element("a", "", "log in again"), { href: `/login?next=${encodeURIComponent(location.pathname)}` }), ".");
  };

  const ended = (outcome) => {
    isLive = false;
    disconnect();
    say();
    draw();
    document.dispatchEvent(new CustomEvent("log-ended", { detail: outcome }));
  };

  const disconnect = () => {
    clearTimeout(retry);
    const old = socket;
    socket = null;
    old?.close();
  };

  const again = () => {
    clearTimeout(retry);
    if (!isLive || document.hidden || isOut) return;
    attempts += 1;
    if (attempts > 1) say("not connected; trying again…");
    const pause = Math.min(500 * 2 ** Math.min(attempts, 5), 15000) * (0.5 + Math.random() / 2);
    // Where WebSockets do not come through, the lines are asked for, which holds no connection.
    retry = setTimeout(attempts > 2 ? poll : connect, attempts > 2 ? POLL_MS : pause);
  };

  const poll = async () => {
    if (document.hidden || !isLive || isOut) return;
    try {
      const answer = await ask(`/lines?after=${flowed}&limit=${BLOCK}`);
      for (const line of answer.lines) flow(line);
      say(`asked for every ${POLL_MS / 1000} s, since the live connection does not come through`);
      if (answer.lines.some((line) => line.kind === "outcome")) return ended(null);
      draw();
      if (answer.lines.length === BLOCK) return poll();
      if (attempts % 10 === 0) return connect();
    } catch { /* The state says it, and it is tried again. */ }
    again();
  };

  const connect = () => {
    if (!isLive || document.hidden || isOut || socket) return;
    const url = new URL(`/ws/deployments/${root.dataset.id}?after=${flowed}`, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const mine = new WebSocket(url);
    socket = mine;
    heardAt = Date.now();
    mine.onopen = () => { if (mine === socket) { attempts = 0; say(); } };
    mine.onmessage = (event) => {
      if (mine !== socket) return;
      heardAt = Date.now();
      for (const text of event.data.split("\n")) {
        if (!text) continue;
        const said = JSON.parse(text);
        if ("position" in said) flow(said);
        else if ("outcome" in said) return ended(said);
      }
      forget();
      draw();
    };
    mine.onclose = (event) => {
      if (mine !== socket) return;
      socket = null;
      if (event.code === 4401) return loggedOut();
      if (event.code === 4403) { isOut = true; return say("You may not read this log any more."); }
      again();
    };
  };

  setInterval(() => {
    if (socket && Date.now() - heardAt > SILENT_MS) { disconnect(); again(); }
  }, 5000);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) disconnect(); else { attempts = 0; connect(); draw(); }
  });
  addEventListener("pagehide", disconnect);
  addEventListener("pageshow", (event) => { if (event.persisted) connect(); });

  // ---- Search, by the server and over the whole log ----

  const search = {
    text: "",
    found: [],
    here: 0,
    isWhole: false,
    stop: null,
    flow(line) {
      if (this.text && this.isWhole && this.found.length < MOST_FOUND && line.text.toLowerCase().includes(this.text)) {
        this.found.push(line.position);
        this.tell();
      }
    },
    tell(text) {
      const at = this.found.indexOf(this.here) + 1;
      const all = `${number.format(this.found.length)}${this.isWhole ? "" : "+"}`;
      part("count").value = text ?? (this.text ? (at ? `${number.format(at)} of ${all}` : `${all} found`) : "");
      part("prev").disabled = part("next").disabled = this.found.length === 0;
    },
    async begin(text) {
      this.stop?.abort();
      Object.assign(this, { text: text.toLowerCase(), found: [], here: 0, isWhole: false, stop: new AbortController() });
      const { signal } = this.stop;
      redo();
      if (!this.text) return this.tell();
      this.tell("searching…");
      try {
        for (let after = 0; !this.isWhole && this.found.length < MOST_FOUND;) {
          const answer = await ask(`/search?text=${encodeURIComponent(text)}&after=${after}`, signal);
          if (signal.aborted) return;
          const isFirst = this.found.length === 0 && answer.positions.length > 0;
          this.found.push(...answer.positions);
          after = answer.through;
          // Lines may have come since.
          this.isWhole = answer.is_whole && after >= last;
          this.tell();
          if (isFirst) this.go(0);
        }
      } catch {
        if (!signal.aborted) this.tell("the search failed; try again");
      }
    },
    // To the match so many behind the one that is shown, or behind what is seen.
    go(by) {
      if (!this.found.length) return;
      let at = this.found.indexOf(this.here);
      if (at < 0) {
        const top = topLine();
        at = this.found.findIndex((position) => position >= top);
        if (at < 0) at = this.found.length - 1;
      } else {
        at = (at + by + this.found.length) % this.found.length;
      }
      document.getElementById(`L${this.here}`)?.classList.remove("is-here");
      this.here = this.found[at];
      document.getElementById(`L${this.here}`)?.classList.add("is-here");
      this.tell();
      goTo(this.here);
    },
  };

  const topLine = () => {
    const at = anchor();
    return at.line ? Number(at.line.slice(1)) : startOf(at.chunk) + 1;
  };
  // Everything that is shown is made again.
  const redo = () => {
    for (const [chunk, made] of nodes) fill(made, chunk, true);
    draw();
  };

  const input = part("text");
  let typed = 0;
  const asked = () => {
    const line = /^\s*(?:#L?|L)(\d+)\s*$/i.exec(input.value);
    if (line) return { line: Number(line[1]) };
    return { text: input.value.trim() };
  };
  input.addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(() => { const { text } = asked(); if (text !== undefined && text.toLowerCase() !== search.text) search.begin(text); }, 250);
  });
  const enter = (by) => {
    clearTimeout(typed);
    const { line, text } = asked();
    if (line && location.hash !== `#L${line}`) location.hash = `L${line}`;
    else if (line) byAddress();
    else if (text.toLowerCase() !== search.text) search.begin(text);
    else search.go(by);
  };
  part("tools").addEventListener("submit", (event) => event.preventDefault());
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing) { event.preventDefault(); enter(event.shiftKey ? -1 : 1); }
    if (event.key === "Escape" && input.value) { event.preventDefault(); input.value = ""; search.begin(""); }
  });
  part("prev").addEventListener("click", () => search.go(-1));
  part("next").addEventListener("click", () => search.go(1));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, textarea, select")) return;
    event.preventDefault();
    input.focus();
    input.select();
  });

  // ---- Addresses of lines, folding, wrapping ----

  const byAddress = () => {
    const wanted = /^#L(\d+)$/.exec(location.hash);
    document.getElementById(`L${target}`)?.classList.remove("is-target");
    target = wanted ? Number(wanted[1]) : 0;
    if (!target) return false;
    document.getElementById(`L${target}`)?.classList.add("is-target");
    goTo(target);
    return true;
  };
  addEventListener("hashchange", byAddress);
  list.addEventListener("click", (event) => {
    const step = event.target.closest(".log-step");
    if (step) {
      const position = Number(step.closest(".log-line").dataset.p);
      fold(() => { if (!folded.delete(position)) folded.add(position); });
      document.getElementById(`L${position}`)?.querySelector(".log-step")?.focus({ preventScroll: true });
      return;
    }
    const link = event.target.closest(".log-n");
    // The browser would move the whole page.
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      history.replaceState(null, "", link.getAttribute("href"));
      const top = box.scrollTop;
      byAddress();
      aim = 0;
      put(top);
    }
  });
  part("fold").addEventListener("click", () => fold(() => { if (folded.size) folded.clear(); else steps.forEach((step) => folded.add(step)); }));

  const wrap = (isWrapped) => {
    const at = anchor();
    box.classList.toggle("is-wrapped", isWrapped);
    part("wrap").setAttribute("aria-pressed", String(isWrapped));
    store("log-wrap", isWrapped ? "yes" : "no");
    heights.clear();
    measure();
    remeasure(at);
  };
  // The lines stay the elements that they are; only their heights are taken anew.
  const remeasure = (at) => {
    heights.clear();
    for (const [chunk, made] of nodes) {
      made.dataset.through = chunks.get(chunk)?.through ?? -1;
      if (isWhole(chunk)) takeHeight(chunk, made);
    }
    const found = offsets();
    place(found);
    if (isFollowing) put(box.scrollHeight); else restore(at, found);
    draw();
  };
  part("wrap").addEventListener("click", () => wrap(!box.classList.contains("is-wrapped")));

  const measure = () => {
    const probe = lineElement({ position: 0, kind: "output", at_ms: 0, text: "x" });
    const around = element("div", "log-chunk");
    around.append(probe);
    list.append(around);
    rowPx = probe.getBoundingClientRect().height || rowPx;
    around.remove();
  };

  let width = 0;
  new ResizeObserver(() => {
    if (box.clientWidth === width) return draw();
    // The lines have moved already.
    const at = rested;
    width = box.clientWidth;
    measure();
    remeasure(at);
  }).observe(box);

  // After a reload, for instance because the deployment has ended, the reader is where they were.
  const place_key = `log ${root.dataset.id}`;
  addEventListener("pagehide", () => {
    try { sessionStorage.setItem(place_key, isFollowing || isAtEnd() ? "" : String(topLine())); } catch { /* Then it begins at its end. */ }
  });
  const wasAt = () => {
    const isReload = performance.getEntriesByType("navigation")[0]?.type === "reload";
    try { return isReload ? Number(sessionStorage.getItem(place_key)) : 0; } catch { return 0; }
  };

  const begin = async () => {
    part("before")?.remove();
    list.replaceChildren();
    list.classList.add("is-on");
    part("tools").hidden = false;
    part("fold").disabled = true;
    box.classList.toggle("is-wrapped", stored("log-wrap") !== "no");
    part("wrap").setAttribute("aria-pressed", String(box.classList.contains("is-wrapped")));
    width = box.clientWidth;
    measure();
    say();
    if (last > 0) {
      const block = Math.floor((last - 1) / BLOCK);
      await fetchBlock(block);
      const end = chunks.get(chunkOf(last));
      if (end) flowed = Math.max(flowed, end.through);
    }
    const before = wasAt();
    if (!byAddress()) {
      if (before) goTo(before, 0);
      else if (isFollowing) draw();
      else goTo(last, 1);
    }
    leftAt = last;
    connect();
    readSteps();
  };
  begin();
})();
