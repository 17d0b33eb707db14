/* What is seen now, and what changes it: filters, zoom, keys, buttons. */

const traces = data.traces.map((trace) => new Trace(trace));
const view = {
  trace: null,
  from: 0, // the window of time
  to: 1,
  chosen: null,
  rows: [], // the spans that have a row
  words: [], // of the search
  found: null, // the spans that search and filter ask for, null without any
  kept: null, // those and the spans above them
  onlyErrors: false,
  critical: true,
  closed: new Set(),
  closedInSearch: new Set(),
  printing: false,
};

const closedNow = () => (view.found ? view.closedInSearch : view.closed);
const isWhole = () => view.from === 0 && view.to === view.trace.end;

let frame = 0;
let isStale = true; // whether anything has changed, and not only been scrolled

function redraw({ isScroll = false } = {}) {
  isStale ||= !isScroll;
  frame ||= requestAnimationFrame(drawNow);
}

function drawNow() {
  cancelAnimationFrame(frame);
  if (isStale) drawTimeline();
  drawRows(isStale);
  markWords();
  frame = 0;
  isStale = false;
}

function openTrace(trace) {
  Object.assign(view, { trace, from: 0, to: trace.end, chosen: null });
  $("whole").hidden = true;
  view.closed.clear();
  showHeader();
  sizeTimeline(); // it decides how much room the list has
  applyFilters();
  choose(trace.cause ?? trace.spans[0]);
}

function showHeader() {
  const { trace } = view;
  const { spans, errors, cause } = trace;
  const sends = spans.filter((span) => span.isSend).length;
  const counts = [plural(spans.length, "span"), plural(sends, "request")];
  const facts = [clock(trace, 0), duration(trace.end), ...counts];
  $("verdict").replaceChildren(makeBadge(trace.state));
  $("title").textContent = $("title").title = trace.name;
  $("description").textContent = $("description").title = trace.description;
  $("facts").replaceChildren(...facts.map((fact) => make("span", {}, fact)));
  $("errors").textContent = errors.length ? plural(errors.length, "error") : "No errors";
  $("errors").disabled = !errors.length;
  $("errors").className = cause ? "failed" : "handled";
  $("cause").hidden = !cause;
  if (!cause) return;
  const message = make("span", {}, cause.message || WORDS[cause.state]);
  $("cause").replaceChildren(make("b", {}, cause.name), message);
}

// --- the chosen span ------------------------------------------------------------------------------

let naming = 0; // of the span in the address, which browsers want to be done seldom

/** Make a span the one whose details are shown, and bring its row into sight. */
function choose(span, { focus = false } = {}) {
  if (!span) return;
  if (view.kept && !view.kept.has(span)) clearFilters();
  for (let above = span.parent; above; above = above.parent) closedNow().delete(above);
  view.chosen = span;
  clearTimeout(naming);
  naming = setTimeout(() => history.replaceState(null, "", `#${span.id}`), 300);
  listRows();
  reveal(span);
  showDetail(span);
  redraw();
  if (focus) $("list").focus();
}

function move(by) {
  const at = view.rows.indexOf(view.chosen) + by;
  choose(view.rows[Math.min(Math.max(at, 0), view.rows.length - 1)]);
}

/** Choose the next of these spans, in the order of the list, and begin again at its end. */
function moveAmong(spans, by) {
  const here = view.chosen.at;
  const next = by > 0 ? spans.find((span) => span.at > here) : spans.findLast((span) => span.at < here);
  choose(next ?? spans.at(by > 0 ? 0 : -1));
}

// --- zoom -----------------------------------------------------------------------------------------

function setWindow(from, to) {
  const { end } = view.trace;
  const width = Math.min(Math.max(to - from, Math.min(end, 1000)), end);
  view.from = Math.min(Math.max(from, 0), end - width);
  view.to = view.from + width;
  $("whole").hidden = isWhole();
  redraw();
}

function zoom(factor, around = (view.from + view.to) / 2) {
  setWindow(around - (around - view.from) * factor, around + (view.to - around) * factor);
}

function pan(part) {
  const by = (view.to - view.from) * part;
  setWindow(view.from + by, view.to + by);
}

function zoomTo(span) {
  const margin = span.duration * 0.05 || view.trace.end / 1000;
  setWindow(span.start - margin, span.end + margin);
}

const showWhole = () => setWindow(0, view.trace.end);

// --- search and filter ----------------------------------------------------------------------------

function applyFilters() {
  view.words = wordsOf($("search").value);
  const tests = view.words.map(wordTest);
  if (view.onlyErrors) tests.push((span) => span.isError);
  view.found = view.kept = null;
  view.closedInSearch.clear();
  const { spans } = view.trace;
  if (tests.length) {
    view.found = new Set(spans.filter((span) => tests.every((test) => test(span))));
    view.kept = new Set();
    for (let span of view.found) {
      for (; span && !view.kept.has(span); span = span.parent) view.kept.add(span);
    }
  }
  $("found").value = view.words.length ? `${count(view.found.size)} of ${count(spans.length)}` : "";
  $("errors").setAttribute("aria-pressed", view.onlyErrors);
  listRows();
  reveal(view.chosen);
  redraw();
}

function clearFilters() {
  $("search").value = "";
  view.onlyErrors = false;
  applyFilters();
}

/** Mark the words that were searched for, where they can be seen. */
function markWords() {
  if (!globalThis.CSS?.highlights) return;
  const ranges = [];
  const words = [...new Set(view.words.flatMap((word) => [word, ...word.split("=")]))].filter(Boolean);
  for (const root of words.length ? [$("rows"), $("detail")] : []) {
    const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) ranges.push(...words.flatMap((word) => rangesOf(word, texts.currentNode)));
  }
  CSS.highlights.set("found", new Highlight(...ranges));
}

function rangesOf(word, node) {
  const ranges = [];
  const text = node.data.toLowerCase();
  if (text.length !== node.data.length) return ranges; // some letters have a longer lower case
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + word.length)) {
    const [startOffset, endOffset] = [at, at + word.length];
    ranges.push(new StaticRange({ startContainer: node, startOffset, endContainer: node, endOffset }));
  }
  return ranges;
}

// --- keys -----------------------------------------------------------------------------------------

const page = () => Math.floor($("list").clientHeight / ROW) - 1;
const isClosed = (span) => closedNow().has(span);

const ON_LIST = {
  ArrowDown: () => move(1),
  ArrowUp: () => move(-1),
  PageDown: () => move(page()),
  PageUp: () => move(-page()),
  Home: () => move(-Infinity),
  End: () => move(Infinity),
  ArrowRight: ({ chosen }) => {
    if (isClosed(chosen)) toggle(chosen);
    else choose(view.rows.find((span) => span.parent === chosen));
  },
  ArrowLeft: ({ chosen }) => {
    if (chosen.children.length && !isClosed(chosen)) toggle(chosen);
    else choose(chosen.parent);
  },
  Enter: () => $("detail").focus(),
};
const ANYWHERE = {
  "/": () => $("search").select(),
  n: ({ found }) => found && moveAmong([...found], 1),
  N: ({ found }) => found && moveAmong([...found], -1),
  e: ({ trace }) => moveAmong(trace.errors, 1),
  E: ({ trace }) => moveAmong(trace.errors, -1),
  f: () => $("errors").click(),
  c: () => $("critical").click(),
  z: ({ chosen }) => zoomTo(chosen),
  0: showWhole,
  "+": () => zoom(0.5),
  "=": () => zoom(0.5),
  "-": () => zoom(2),
  "[": () => pan(-0.25),
  "]": () => pan(0.25),
  x: toggleAll,
  t: () => $("theme").click(),
  "?": () => $("help").showModal(),
  Escape: () => ($("detail").contains(document.activeElement) ? $("list").focus() : clearFilters()),
};

function pressKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  if (event.target.matches("input, select")) return;
  if (event.key === "Enter" && event.target.matches("button")) return;
  const isElsewhere = event.target.closest("#detail, #splitter"); // where arrows do something else
  const act = (!isElsewhere && ON_LIST[event.key]) || ANYWHERE[event.key];
  if (!act) return;
  event.preventDefault();
  act(view);
}

function pressKeyInSearch(event) {
  if (event.key === "Enter") {
    if (view.found?.size) moveAmong([...view.found], event.shiftKey ? -1 : 1);
  } else if (event.key === "ArrowDown" || event.key === "Escape") {
    if (event.key === "Escape") clearFilters();
    $("list").focus();
  } else return;
  event.preventDefault();
}

// --- buttons and the page itself ------------------------------------------------------------------

function switchTheme() {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches;
  root.dataset.theme = isDark ? "light" : "dark";
  redraw();
}

function switchErrors() {
  view.onlyErrors = !view.onlyErrors;
  applyFilters();
}

function switchCritical() {
  view.critical = !view.critical;
  $("critical").setAttribute("aria-pressed", view.critical);
  redraw();
}

function moveSplitter(percent) {
  const bounded = Math.min(Math.max(percent, 20), 80);
  document.documentElement.style.setProperty("--split", `${bounded}%`);
  $("splitter").setAttribute("aria-valuenow", Math.round(bounded));
  redraw();
}

/** On paper every row is there. */
function setPrinting(printing) {
  if (view.printing === printing) return;
  view.printing = printing;
  isStale = true;
  drawNow();
}

const prefersDark = matchMedia("(prefers-color-scheme: dark)");

function listenToTimeline() {
  for (const canvas of [$("overview"), $("lanes")]) {
    canvas.addEventListener("pointerdown", startDrag);
    canvas.addEventListener("pointermove", goOnDragging);
    canvas.addEventListener("pointerup", endDrag);
    canvas.addEventListener("pointercancel", () => (drag.canvas = null));
    canvas.addEventListener("wheel", turnWheel, { passive: false });
  }
  $("lanes").addEventListener("pointermove", showTip);
  $("lanes").addEventListener("pointerleave", () => ($("tip").hidden = true));
  $("lanes").addEventListener("dblclick", (event) => zoomTo(spanUnder(event) ?? view.chosen));
}

function listenToSplitter() {
  const splitter = $("splitter");
  splitter.addEventListener("pointerdown", (event) => splitter.setPointerCapture(event.pointerId));
  splitter.addEventListener("pointermove", (event) => {
    if (event.buttons) moveSplitter((event.clientX / innerWidth) * 100);
  });
  splitter.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -2, ArrowRight: 2 }[event.key];
    if (by) moveSplitter(Number(splitter.getAttribute("aria-valuenow")) + by);
  });
}

function listen() {
  listenToTimeline();
  listenToSplitter();
  $("list").addEventListener("scroll", () => redraw({ isScroll: true }));
  $("list").addEventListener("click", clickRow);
  $("list").addEventListener("dblclick", () => zoomTo(view.chosen));
  $("search").addEventListener("input", applyFilters);
  $("search").addEventListener("keydown", pressKeyInSearch);
  $("chooser").addEventListener("change", (event) => openTrace(traces[event.target.value]));
  $("cause").addEventListener("click", () => choose(view.trace.cause, { focus: true }));
  $("errors").addEventListener("click", switchErrors);
  $("critical").addEventListener("click", switchCritical);
  $("whole").addEventListener("click", showWhole);
  $("theme").addEventListener("click", switchTheme);
  $("keys").addEventListener("click", ANYWHERE["?"]);
  document.addEventListener("keydown", pressKey);
  prefersDark.addEventListener("change", () => redraw());
  matchMedia("print").addEventListener("change", (event) => setPrinting(event.matches));
  addEventListener("beforeprint", () => setPrinting(true));
  addEventListener("afterprint", () => setPrinting(matchMedia("print").matches));
  new ResizeObserver(() => redraw()).observe($("list"));
}

function start() {
  if (!traces.length) {
    $("title").textContent = document.title;
    $("rows").append(make("p.nothing", {}, "There is no span to show."));
    return;
  }
  for (const [at, trace] of traces.entries()) {
    const words = [trace.name, WORDS[trace.state], duration(trace.end), clock(trace, 0)];
    $("chooser").append(make("option", { value: at }, words.join(" · ")));
  }
  $("chooser").hidden = traces.length === 1;
  const isWanted = (span) => span.id === location.hash.slice(1);
  const wanted = traces.findIndex((trace) => trace.spans.some(isWanted));
  const span = traces[wanted]?.spans.find(isWanted);
  $("chooser").value = Math.max(wanted, 0);
  openTrace(traces[Math.max(wanted, 0)]);
  choose(span);
  listen();
}

start();
