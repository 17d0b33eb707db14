/* The list of steps: only the rows that can be seen are in the document, however many there are. */

const ROW = 27; // pixels, as in page.css
const MOST_EVENTS = 50; // of a span, that have a dot
const drawn = new Map(); // the rows in the document, by their place in the list

/** Return a new element; `tag` may have classes ("b.code.bad"), text among the children stays text. */
function make(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const node = document.createElement(name);
  node.classList.add(...classes);
  for (const [key, value] of Object.entries(properties)) {
    if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.flat().filter(Boolean));
  return node;
}

function makeIcon(name, className = "") {
  const [svg, use] = ["svg", "use"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  use.setAttribute("href", `#i-${FATAL.has(name) ? "failed" : name}`);
  svg.setAttribute("class", className);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

const makeBadge = (state) => make(`span.badge.${state}`, {}, makeIcon(state), WORDS[state]);

/** Find out which spans have a row: all but those that are filtered away or below a closed one. */
function listRows() {
  const { spans } = view.trace;
  const closed = closedNow();
  view.rows = [];
  for (let at = 0; at < spans.length; ) {
    const span = spans[at];
    const isKept = !view.kept || view.kept.has(span);
    if (isKept) view.rows.push(span);
    at += isKept && !closed.has(span) ? 1 : span.size;
  }
  $("rows").style.height = `${view.rows.length * ROW}px`;
}

/** Draw the rows in sight; what is drawn already stays unless it is `stale`. */
function drawRows(stale) {
  const list = $("list");
  const first = view.printing ? 0 : Math.max(0, Math.floor(list.scrollTop / ROW) - 6);
  const last = view.printing ? Infinity : Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 6;
  if (stale) drawTicks(); // before the rows change: it asks for a width, and they would have to be laid out
  for (const at of [...drawn.keys()]) {
    if (stale || at < first || at >= last) drawn.delete(at);
  }
  for (let at = first; at < Math.min(last, view.rows.length); at++) {
    if (!drawn.has(at)) drawn.set(at, makeRow(view.rows[at], at));
  }
  const inOrder = [...drawn].sort(([one], [other]) => one - other).map(([, row]) => row);
  $("rows").replaceChildren(...(inOrder.length ? inOrder : [make("p.nothing", {}, "Nothing matches.")]));
  if (view.chosen) list.setAttribute("aria-activedescendant", `row-${view.chosen.at}`);
}

function drawTicks() {
  const width = $("ticks").clientWidth;
  const marks = ticks(view.from, view.to, width / 85);
  const hasRoom = (time) => ((view.to - time) / (view.to - view.from)) * width > 50;
  const nodes = marks.map(([time, text]) => placed(make("i", {}, hasRoom(time) && text), time));
  $("ticks").replaceChildren(...nodes);
  const lines = marks.map(([time]) => {
    const x = `calc(var(--names) + (100% - var(--names) - var(--times)) * ${share(time - view.from) / 100})`;
    return `linear-gradient(var(--line) 0 0) ${x} 0 / 1px 100% no-repeat`;
  });
  $("rows").style.background = lines.join(", ");
}

const share = (time) => (time / (view.to - view.from)) * 100;

/** Place an element in the track of a row, or above it, by its time. */
function placed(node, from, to) {
  node.style.left = `${share(from - view.from)}%`;
  if (to !== undefined) node.style.width = `${share(to - from)}%`;
  return node;
}

function makeRow(span, at) {
  const { status } = span;
  const row = make(`div.row.${span.state}`, {
    id: `row-${span.at}`,
    role: "treeitem",
    "aria-level": span.depth + 1,
    "aria-posinset": span.place,
    "aria-setsize": (span.parent ? span.parent.children : view.trace.tops).length,
    "aria-selected": span === view.chosen,
    "aria-label": [span.name, WORDS[span.state], status, took(span)].filter(Boolean).join(", "),
  });
  if (span.children.length) row.setAttribute("aria-expanded", !closedNow().has(span));
  if (view.found && !view.found.has(span)) row.classList.add("aside");
  row.style.setProperty("--depth", span.depth);
  row.style.top = `${at * ROW}px`;
  row.append(makeName(span, status), makeTrack(span), make("span.took", {}, took(span)));
  return row;
}

function makeName(span, status) {
  const attempts = span.get("runner.step.attempts");
  return make(
    "span.name",
    { title: span.name },
    makeIcon("caret", "caret"),
    makeIcon(span.state, "state"),
    make("b", {}, span.name),
    status && make(`span.code${span.isError ? ".bad" : ""}`, {}, visible(status)),
    attempts > 1 && make("span.code.again", { title: `${attempts} attempts` }, `${attempts}×`),
    view.printing && make("em", {}, span.message),
  );
}

function makeTrack(span) {
  if (span.state === "skipped") return makeSkip(span);
  const bar = placed(make("i.bar"), span.start, span.end);
  bar.style.setProperty("--fill", `var(--${span.tone})`);
  return make(
    "span.track",
    {},
    bar,
    span.waits.map(([from, to]) => placed(make("i.wait"), from, to)),
    span.events.slice(0, MOST_EVENTS).map(([, at]) => placed(make("i.event"), at)),
    criticalNow(span).map(([from, to]) => placed(make("i.path"), from, to)),
  );
}

/** A step that was skipped has a mark, and on the side where there is room the reason. */
function makeSkip(span) {
  const reason = ["skipped", span.get("runner.skip.reason")].filter(Boolean).join(": ");
  const isLate = share(span.start - view.from) > 60;
  const why = placed(make(`span.why${isLate ? ".late" : ""}`, {}, visible(reason)), span.start);
  return make("span.track", {}, placed(make("i.tick"), span.start), why);
}

// --- what a row is asked to do --------------------------------------------------------------------

/** Scroll to a span: a little to a near one, and so that it stands among others to a far one. */
function reveal(span) {
  const list = $("list");
  const top = view.rows.indexOf(span) * ROW;
  if (top < 0) return;
  const before = list.scrollTop - top;
  const behind = top + ROW - list.scrollTop - list.clientHeight;
  const isFar = Math.max(before, behind) > 3 * ROW;
  if (before > 0) list.scrollTop = isFar ? top - list.clientHeight / 3 : top - ROW;
  if (behind > 0) list.scrollTop = isFar ? top - list.clientHeight / 3 : list.scrollTop + behind + ROW;
}

function toggle(span) {
  if (!closedNow().delete(span)) closedNow().add(span);
  listRows();
  redraw();
}

function toggleAll() {
  const parents = view.trace.spans.filter((span) => span.parent && span.children.length);
  const areOpen = parents.some((span) => !closedNow().has(span));
  closedNow().clear();
  if (areOpen) parents.forEach((span) => closedNow().add(span));
  listRows();
  let span = view.chosen;
  while (!view.rows.includes(span)) span = span.parent;
  choose(span);
}

function clickRow(event) {
  const row = event.target.closest(".row");
  if (!row) return;
  const span = view.trace.spans[Number(row.id.slice("row-".length))];
  if (event.target.closest(".caret") && span.children.length) toggle(span);
  else choose(span);
}
