"use strict";
/* The traces of the block #data, whose shape stands in runner/report/html.py. Times are nanoseconds
   after the start of a trace. These files are one script in the page, in the order trace, timeline,
   steps, detail, page. What a trace says gets into the page as text (textContent, fillText), never
   as markup. */

const $ = (id) => document.getElementById(id);
addEventListener("error", ({ message }) => {
  $("title").textContent ||= `This page needs a browser of 2024 or later (${message})`;
});
const data = JSON.parse($("data").textContent);
const keyPlaces = new Map(data.keys.map((key, place) => [key, place]));

const WORDS = {
  running: "running",
  ok: "ok",
  failed: "failed",
  handled: "failed (handled)",
  skipped: "skipped",
  cancelled: "cancelled",
  timed_out: "timed out",
};
const FATAL = new Set(["failed", "cancelled", "timed_out"]);
const MOST_LANES = 240;

function lookUp(pairs, key) {
  const place = keyPlaces.get(key);
  for (let at = 0; at < pairs.length; at += 2) {
    if (pairs[at] === place) return data.values[pairs[at + 1]];
  }
  return undefined;
}

class Span {
  constructor([depth, name, start, duration, state, kind, id, attributes, events], at) {
    Object.assign(this, { at, depth, start, duration, state, id, attributes, events });
    this.nameAt = name;
    this.name = visible(data.values[name]);
    this.end = start + duration;
    this.isSend = kind === "client";
    this.isFatal = FATAL.has(state);
    this.isError = this.isFatal || state === "handled";
    this.parent = null;
    this.children = [];
    this.place = 0; // among its siblings, from 1
    this.size = 1; // of its subtree: the spans at … at + size - 1
  }

  get(key) {
    return lookUp(this.attributes, key);
  }

  /** Whether a failure began here: no step below failed, and it is no attempt of a step that did. */
  get isOrigin() {
    if (!this.isError || (this.isSend && this.parent?.isError)) return false;
    return !this.children.some((child) => child.isError && !child.isSend);
  }

  /** The name of its colour in page.css. */
  get tone() {
    if (this.isFatal) return this.isSend || this.isOrigin ? "failed" : "around";
    if (this.state !== "ok") return this.state;
    return this.isSend ? "send" : this.parent ? "step" : "run";
  }

  /** What went wrong, or why it was skipped; "" when there is nothing to say. */
  get message() {
    if (this.state === "skipped") return visible(this.get("runner.skip.detail") ?? "");
    if (!this.isError) return "";
    const exceptions = this.events.map(([, , pairs]) => lookUp(pairs, "exception.message"));
    const told = [this.get("error.message"), this.get("otel.status_description"), ...exceptions];
    return visible(told.find(Boolean) ?? "");
  }

  /** The status of the answer; by the name of the older conventions, too. */
  get status() {
    return this.get("http.response.status_code") ?? this.get("http.status_code");
  }

  /** How long is waited, for each event that says so, as [from, to]. */
  get waits() {
    return this.events
      .map(([, at, pairs]) => [at, Math.min(at + 1e6 * (lookUp(pairs, "runner.delay_ms") ?? 0), this.end)])
      .filter(([from, to]) => from < to);
  }
}

class Trace {
  constructor({ name, description, id, start, state, cause, spans, critical }) {
    Object.assign(this, { id, state });
    this.start = Date.parse(start);
    this.spans = spans.map((fields, at) => new Span(fields, at));
    this.end = this.spans.reduce((latest, span) => Math.max(latest, span.end), 1);
    this.tops = joinTree(this.spans);
    this.name = visible(name) || this.tops[0].name;
    this.description = visible(description);
    this.lanes = layLanes(this.spans, this.tops);
    this.critical = Map.groupBy(critical, ([at]) => this.spans[at]);
    this.errors = this.spans.filter((span) => span.isOrigin);
    this.cause = this.spans[cause] ?? null;
  }

  /** The parts of the critical path that a span took itself, as [span, from, to]. */
  criticalParts(span) {
    return this.critical.get(span) ?? [];
  }
}

/** Find the parents of spans, which stand in the order of the tree; returns those without one. */
function joinTree(spans) {
  const tops = [];
  const path = [];
  for (const span of spans) {
    span.parent = path[span.depth - 1] ?? null;
    path.length = span.depth;
    path.push(span);
    span.place = (span.parent ? span.parent.children : tops).push(span);
  }
  for (const span of spans.toReversed()) {
    if (span.parent) span.parent.size += span.size;
  }
  return tops;
}

/** Give each span a lane, below its parent and free of what overlaps it; returns how many there are. */
function layLanes(spans, tops) {
  // Blocks come in the order of their start, so a lane is free once its last block has ended.
  const stack = (blocks) => {
    const ends = [];
    for (const block of blocks) {
      const isTaken = (lane) => ends.slice(lane, lane + block.height).some((end) => end > block.start);
      block.lane = 0;
      while (isTaken(block.lane) && block.lane < MOST_LANES) block.lane++;
      for (let lane = block.lane; lane < block.lane + block.height; lane++) {
        ends[lane] = Math.max(ends[lane] ?? 0, block.until);
      }
    }
    return ends;
  };
  for (const span of spans.toReversed()) {
    const ends = stack(span.children);
    span.height = 1 + ends.length;
    span.until = ends.reduce((latest, end) => Math.max(latest, end), span.end);
  }
  const lanes = stack(tops).length;
  for (const span of spans) span.lane += span.parent ? span.parent.lane + 1 : 0;
  return lanes;
}

// --- search ---------------------------------------------------------------------------------------

const lower = {
  get keys() {
    return (this.allKeys ??= data.keys.map((key) => key.toLowerCase()));
  },
  get values() {
    return (this.allValues ??= data.values.map((value) => String(value).toLowerCase()));
  },
};

/** Return the words of a query; what stands in quotes is one word. */
function wordsOf(query) {
  const found = query.toLowerCase().match(/"[^"]*"|\S+/g) ?? [];
  return found.map((word) => word.replaceAll('"', "")).filter(Boolean);
}

/** Return a test of spans: is the word part of a name, key or value, or, as key=value, of a pair? */
function wordTest(word) {
  const holds = (texts, part) => texts.map((text) => text.includes(part));
  const inKeys = holds(lower.keys, word);
  const inValues = holds(lower.values, word);
  const [, key, value] = /^([^=]+)=(.*)$/s.exec(word) ?? [];
  const inItsKey = key && holds(lower.keys, key);
  const inItsValue = key && holds(lower.values, value);
  const inPairs = (pairs) => {
    for (let at = 0; at < pairs.length; at += 2) {
      if (inKeys[pairs[at]] || inValues[pairs[at + 1]]) return true;
      if (key && inItsKey[pairs[at]] && inItsValue[pairs[at + 1]]) return true;
    }
    return false;
  };
  return (span) =>
    inValues[span.nameAt] ||
    span.id === word ||
    WORDS[span.state].includes(word) ||
    inPairs(span.attributes) ||
    span.events.some(([name, , pairs]) => inValues[name] || inPairs(pairs));
}

// --- text -----------------------------------------------------------------------------------------

/** Write out what could not be seen, or would turn the direction of the text around. */
function visible(text) {
  const odd = /[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\p{Cs}]|(?![\t\n\r])\p{Cc}/gu;
  return String(text).replace(odd, (character) => {
    const code = character.charCodeAt(0).toString(16);
    return code.length > 2 ? `\\u${code.padStart(4, "0")}` : `\\x${code.padStart(2, "0")}`;
  });
}

const THIN = "\u202f"; // a narrow space that does not break
const count = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, THIN);
const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
const two = (number) => String(number).padStart(2, "0");
const UNITS = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]];

/** 1.24 s, 312 ms, 45.1 µs, 12m 03s: three digits are enough to compare. */
function duration(ns) {
  if (ns >= 59.95e9) {
    const seconds = Math.round(ns / 1e9);
    const minutes = Math.floor(seconds / 60);
    if (minutes < 60) return `${minutes}m ${two(seconds % 60)}s`;
    return `${Math.floor(minutes / 60)}h ${two(minutes % 60)}m`;
  }
  const [size, unit] = UNITS.find(([least]) => ns >= least * 0.9995) ?? [1e6, "ms"];
  return `${Number((ns / size).toPrecision(3))} ${unit}`;
}

const took = (span) => (span.state === "skipped" ? "" : duration(span.duration));

function bytes(number) {
  if (typeof number !== "number") return "";
  if (number < 1000) return `${number} B`;
  return number < 1e6 ? `${(number / 1e3).toFixed(1)} kB` : `${(number / 1e6).toFixed(1)} MB`;
}

/** The time of day of a moment of a trace. */
function clock(trace, ns) {
  return new Date(trace.start + ns / 1e6).toISOString().replace("T", " ").replace("Z", " UTC");
}

const LONG_STEPS = [15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400].map((s) => s * 1e9);

/** Return [time, text] for round times between two moments, at most about as many as wanted. */
function ticks(from, to, wanted) {
  const least = (to - from) / Math.max(wanted, 1);
  const power = 10 ** Math.floor(Math.log10(least));
  const decimal = power * [1, 2, 5, 10].find((factor) => factor * power >= least * 0.999999);
  const step = decimal > 10e9 ? (LONG_STEPS.find((size) => size >= least) ?? decimal) : decimal;
  const [size, unit] = UNITS.find(([size]) => to >= size) ?? UNITS[3];
  const digits = Math.max(0, Math.ceil(-Math.log10(step / size) - 1e-9));
  const text = (time) => (step >= 15e9 ? duration(time) : `${(time / size).toFixed(digits)} ${unit}`);
  const found = [];
  for (let number = Math.ceil(from / step); number * step <= to; number++) {
    found.push([number * step, number ? text(number * step) : "0"]);
  }
  return found;
}
