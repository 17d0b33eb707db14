/* The details of the chosen span. */

const MOST_SHOWN = 2000; // characters of an attribute, before "show all"
const MOST_ATTEMPTS = 20;
const HEADER = "http.response.header.";
const REQUEST_BODY = "http.request.body.content";
const RESPONSE_BODY = "http.response.body.content";

function showDetail(span) {
  const sends = span.isSend ? [span] : span.children.filter((child) => child.isSend);
  const detail = $("detail");
  detail.replaceChildren(
    makeCrumbs(span),
    make("h2", {}, span.name),
    makeMeasures(span),
    ...(span.message ? [makeTrouble(span)] : []),
    ...(sends.length > 1 ? [makeAttempts(sends)] : []),
    ...(sends.length ? makeExchange(sends.at(-1), sends.length > 1 ? "last attempt" : "") : []),
    makeCard("Attributes", { note: String(span.attributes.length / 2) }, makeTable(span.attributes)),
    ...(span.events.length
      ? [makeCard("Events", { note: String(span.events.length) }, ...span.events.map(makeEvent))]
      : []),
    ...(span.parent ? [] : makeHosts(span)),
    makeCard("Span", {}, makeIds(span)),
  );
  detail.scrollTop = 0;
}

function makeCard(title, { note = "", copy }, ...content) {
  const heading = make("h3", {}, title, make("small", {}, note), copy && makeCopy(...copy));
  return make("section.card", {}, heading, ...content);
}

function makeCopy(words, text) {
  if (!navigator.clipboard) return ""; // a page that came over plain http may not
  const button = make("button", { type: "button" }, words);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = words), 1200);
  });
  return button;
}

function makeCrumbs(span) {
  const above = [];
  for (let at = span.parent; at; at = at.parent) above.unshift(at);
  const shown = above.length > 6 ? [...above.slice(0, 2), ...above.slice(-4)] : above;
  const goTo = (span) => make("button", { type: "button", onclick: () => choose(span) }, span.name);
  return make("nav.crumbs", { "aria-label": "Spans above" }, shown.map(goTo));
}

function makeMeasures(span) {
  const own = view.trace.criticalParts(span).reduce((sum, [, from, to]) => sum + to - from, 0);
  return make(
    "div.measures",
    {},
    makeBadge(span.state),
    took(span) && make("span", {}, make("b", {}, took(span))),
    make("span", {}, "at ", make("b", {}, duration(span.start))),
    own && make("span", {}, "on the critical path ", make("b", {}, duration(own))),
  );
}

function makeTrouble(span) {
  const code = span.get("runner.failure.code") ?? span.get("error.type") ?? span.get("runner.skip.reason");
  const facts = [code, span.get("runner.failure.place")].filter(Boolean).join(" · ");
  return make(`div.trouble.${span.state}`, {}, span.message, facts && make("small", {}, visible(facts)));
}

function makeAttempts(sends) {
  const buttons = sends.map((send, at) => {
    const result = send.status ?? send.get("error.type") ?? WORDS[send.state];
    const code = make(`span.code${send.isError ? ".bad" : ""}.${send.state}`, {}, visible(result));
    return make("button", { type: "button", onclick: () => choose(send) }, String(at + 1), code);
  });
  const shown = make("div.attempts", {}, buttons.slice(-MOST_ATTEMPTS));
  return makeCard("Attempts", { note: String(sends.length) }, shown);
}

// --- request and response -------------------------------------------------------------------------

function makeExchange(send, which) {
  const url = send.get("url.full") ?? send.get("http.url");
  if (url === undefined) return [];
  const note = (size) => [which, bytes(send.get(size))].filter(Boolean).join(" · ");
  const methods = ["http.request.method_original", "http.request.method", "http.method"];
  const method = methods.map((key) => send.get(key)).find(Boolean) ?? "";
  const request = makeCard(
    "Request",
    { note: note("http.request.body.size"), copy: ["Copy URL", url] },
    make("div.line.mono", {}, make("b", {}, visible(method)), ` ${visible(url)}`),
    makeBody(send.get(REQUEST_BODY)),
  );
  const { status } = send;
  if (status === undefined) return [request];
  const version = send.get("network.protocol.version");
  const body = send.get(RESPONSE_BODY);
  const response = makeCard(
    "Response",
    { note: note("http.response.body.size"), copy: body && ["Copy body", body] },
    make("div.line.mono", {}, version && `HTTP/${visible(version)} `, make("b", {}, visible(status))),
    makeHeaders(send),
    makeBody(body),
  );
  return [request, response];
}

function makeHeaders(send) {
  const headers = pairsOf(send.attributes).filter(([key]) => key.startsWith(HEADER));
  return make("table", {}, headers.map(([key, value]) => makeEntry(key.slice(HEADER.length), joined(value))));
}

/** Header values are lists, which stand in a trace as JSON. */
function joined(text) {
  try {
    return JSON.parse(text).join(", ");
  } catch {
    return text;
  }
}

function makeBody(text) {
  if (!text) return "";
  return make("pre.json", { tabIndex: 0 }, ...(indented(String(text)) ?? [visible(text)]));
}

/** Return JSON as nodes on many lines, each token as it was written; null for what is no JSON. */
function indented(text) {
  try {
    if (typeof JSON.parse(text) !== "object") return null;
  } catch {
    return null;
  }
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g);
  const opens = (token) => token === "[" || token === "{";
  const closes = (token) => token === "]" || token === "}";
  let depth = 0;
  const newline = () => `\n${"  ".repeat(Math.min(depth, 40))}`;
  return tokens.flatMap((token, at) => {
    if (token === ":") return ": ";
    if (token === ",") return [",", newline()];
    if (opens(token)) {
      depth++;
      return closes(tokens[at + 1]) ? token : [token, newline()];
    }
    if (closes(token)) {
      depth--;
      return opens(tokens[at - 1]) ? token : [newline(), token];
    }
    return makeToken(token, tokens[at + 1] === ":");
  });
}

function makeToken(token, isKey) {
  const isText = token[0] === '"';
  if (isText && !isKey) return visible(token);
  const kind = isText ? "key" : /[\d-]/.test(token[0]) ? "number" : "word";
  return make(`span.${kind}`, {}, visible(token));
}

// --- tables ---------------------------------------------------------------------------------------

function pairsOf(places) {
  const keys = places.filter((_, at) => at % 2 === 0);
  return keys.map((key, at) => [data.keys[key], data.values[places[2 * at + 1]]]);
}

function makeTable(pairs) {
  const shown = pairsOf(pairs).filter(([key]) => key !== REQUEST_BODY && key !== RESPONSE_BODY);
  return make("table", {}, shown.map(([key, value]) => makeEntry(key, value)));
}

function makeEntry(key, value) {
  const text = visible(value);
  const cell = make(typeof value === "string" ? "td" : "td.number", {}, text.slice(0, MOST_SHOWN));
  if (text.length > MOST_SHOWN) {
    const showAll = () => cell.replaceChildren(text);
    const words = `show all ${count(text.length)} characters`;
    cell.append("… ", make("button", { type: "button", onclick: showAll }, words));
  }
  return make("tr", {}, make("th", { scope: "row" }, visible(key)), cell);
}

/** Who was asked how often, with what success, and the request that took longest. */
function makeHosts(top) {
  const sends = view.trace.spans.slice(top.at, top.at + top.size).filter((span) => span.get("server.address"));
  const hosts = Map.groupBy(sends, (send) => [send.get("server.address"), send.get("server.port")].join(":"));
  if (!hosts.size) return [];
  const head = ["", "requests", "failed", "slowest"].map((title) => make("td", {}, title));
  const rows = [...hosts].map(([host, asked]) => {
    const slowest = asked.reduce((most, send) => (send.duration > most.duration ? send : most));
    const failed = asked.filter((send) => send.isError).length;
    const goTo = make("button", { type: "button", onclick: () => choose(slowest) }, took(slowest));
    const cells = [count(asked.length), count(failed), goTo].map((cell) => make("td", {}, cell));
    return make("tr", {}, make("th", { scope: "row" }, visible(host)), cells);
  });
  const table = make("table.hosts", {}, make("thead", {}, make("tr", {}, head)), make("tbody", {}, rows));
  return [makeCard("Hosts", { note: count(hosts.size) }, table)];
}

function makeEvent([name, at, pairs]) {
  const time = make("time", { title: clock(view.trace, at) }, `at ${duration(at)}`);
  return make("div.moment", {}, make("h4", {}, visible(data.values[name]), time), makeTable(pairs));
}

function makeIds(span) {
  const entries = [
    ["start", clock(view.trace, span.start)],
    ["end", clock(view.trace, span.end)],
    ["trace id", view.trace.id],
    ["span id", span.id],
    ["parent id", span.parent?.id ?? "none here"],
  ];
  return make("table", {}, entries.map(([key, value]) => makeEntry(key, value)));
}
