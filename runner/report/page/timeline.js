/* The timeline: all spans in lanes, above them the whole run with the window that is zoomed to. */

const AXIS = 20; // pixels
const LANE = 20;
const OVERVIEW = 18;
const lanesHeight = () => Math.min(Math.max(view.trace.lanes, 2) * LANE, Math.max(innerHeight * 0.24, 100));
const laneHeight = (height) => Math.min(height / view.trace.lanes, LANE);

/** Return a function that gives the colours of page.css as a canvas takes them. */
function readColours() {
  const probe = document.body.appendChild(document.createElement("i"));
  const style = getComputedStyle(probe);
  const known = {};
  const colour = (name) => {
    if (!(name in known)) {
      probe.style.color = `var(--${name})`;
      known[name] = style.color;
    }
    return known[name];
  };
  colour.done = () => probe.remove();
  return colour;
}

/** Take the height that the lanes of the trace need. */
function sizeTimeline() {
  $("overview").style.height = `${OVERVIEW}px`;
  $("lanes").style.height = `${AXIS + lanesHeight() + 6}px`;
}

function penOf(canvas) {
  const scale = devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * scale);
  canvas.height = Math.round(canvas.clientHeight * scale);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
  pen.textBaseline = "middle";
  return pen;
}

function drawTimeline() {
  sizeTimeline();
  const colour = readColours();
  const { from, to, trace } = view;
  const { clientWidth: width, clientHeight: height } = $("lanes");
  const small = penOf($("overview"));
  drawBars(small, colour, { from: 0, to: trace.end, width, top: 2, height: OVERVIEW - 4 });
  if (!isWhole()) drawWindow(small, colour, width);
  const pen = penOf($("lanes"));
  for (const [time, text] of ticks(from, to, width / 130)) {
    const x = Math.round(((time - from) / (to - from)) * width);
    pen.fillStyle = colour("line");
    pen.fillRect(x, 0, 1, height);
    pen.fillStyle = colour("soft");
    if (x < width - 60) pen.fillText(text, x + 6, AXIS / 2);
  }
  drawBars(pen, colour, { from, to, width, top: AXIS, height: lanesHeight(), isLarge: true });
  if (drag.canvas === $("lanes") && drag.isMoved) {
    pen.fillStyle = colour("accent");
    pen.globalAlpha = 0.18;
    pen.fillRect(drag.start, 0, drag.now - drag.start, height);
  }
  colour.done();
}

/** Frame the part of the overview that the window shows. */
function drawWindow(pen, colour, width) {
  const left = (view.from / view.trace.end) * width;
  const right = (view.to / view.trace.end) * width;
  pen.fillStyle = colour("paper");
  pen.globalAlpha = 0.7;
  pen.fillRect(0, 0, left, OVERVIEW);
  pen.fillRect(right, 0, width - right, OVERVIEW);
  pen.globalAlpha = 1;
  pen.strokeStyle = colour("accent");
  pen.lineWidth = 1.5;
  pen.strokeRect(left, 0.75, Math.max(right - left, 3), OVERVIEW - 1.5);
}

function drawBars(pen, colour, { from, to, width, top, height, isLarge = false }) {
  const lane = laneHeight(height);
  const thick = lane - (lane > 6 ? 2 : lane > 2 ? 1 : 0);
  const scale = width / (to - from);
  const full = []; // per lane, how far it is full of bars too small to be told apart
  for (const span of view.trace.spans) {
    if (span.end < from || span.start > to) continue;
    const left = Math.max((span.start - from) * scale, -4);
    const right = Math.max(Math.min((span.end - from) * scale, width + 4), left + 1.5);
    const isSmall = right - left < 3;
    if (isSmall && !span.isError && right <= full[span.lane]) continue;
    if (isSmall) full[span.lane] = right + 0.5;
    const box = { left, right, thick, y: top + span.lane * lane };
    pen.globalAlpha = view.found && !view.found.has(span) ? 0.22 : 1;
    pen.fillStyle = colour(span.tone);
    if (isSmall) pen.fillRect(left, box.y, right - left, thick);
    else fillRound(pen, box);
    if (isLarge && thick >= 11 && right - left > 36) drawName(pen, colour, { span, box, width });
    if (isLarge) drawPath(pen, colour, { span, box, from, scale });
    if (isLarge && span === view.chosen) drawFrame(pen, colour, box);
  }
  pen.globalAlpha = 1;
}

function fillRound(pen, { left, right, thick, y }) {
  pen.beginPath();
  pen.roundRect(left, y, right - left, thick, Math.min(3, thick / 3));
  pen.fill();
}

function drawName(pen, colour, { span, box, width }) {
  const left = Math.max(box.left, 0) + 6;
  const room = Math.min(box.right, width) - left - 4;
  const fits = (text) => pen.measureText(text).width <= room;
  let text = span.name.slice(0, Math.max(room / 3, 0));
  while (text && !fits(text === span.name ? text : `${text}…`)) text = text.slice(0, -1);
  pen.fillStyle = colour("on-bar");
  if (text.length > 1) pen.fillText(text === span.name ? text : `${text}…`, left, box.y + box.thick / 2 + 0.5);
}

/** Return the parts of the critical path in a span that can be seen; what is close together is one. */
function criticalNow(span) {
  const parts = [];
  const close = (view.to - view.from) / 1000;
  for (const [, from, to] of view.critical ? view.trace.criticalParts(span) : []) {
    if (to < view.from || from > view.to) continue;
    if (from - parts.at(-1)?.[1] < close) parts.at(-1)[1] = to;
    else parts.push([from, to]);
  }
  return parts;
}

function drawPath(pen, colour, { span, box, from, scale }) {
  pen.fillStyle = colour("ink");
  for (const [start, end] of criticalNow(span)) {
    pen.fillRect((start - from) * scale, box.y + box.thick - 1.5, Math.max((end - start) * scale, 1.5), 2);
  }
}

function drawFrame(pen, colour, { left, right, thick, y }) {
  pen.globalAlpha = 1;
  pen.strokeStyle = colour("ink");
  pen.lineWidth = 1.5;
  pen.strokeRect(left - 1, y - 1, right - left + 2, thick + 2);
}

// --- pointer --------------------------------------------------------------------------------------

const drag = { canvas: null, start: 0, now: 0, isMoved: false, window: null };

function timeAt(canvas, x) {
  const [from, to] = canvas === $("lanes") ? [view.from, view.to] : [0, view.trace.end];
  return from + (x / canvas.clientWidth) * (to - from);
}

/** Return the span that is nearest to a point of the lanes, at most three pixels away. */
function spanUnder({ offsetX, offsetY }) {
  const lane = Math.floor((offsetY - AXIS) / laneHeight(lanesHeight()));
  const time = timeAt($("lanes"), offsetX);
  const near = timeAt($("lanes"), offsetX + 3) - time;
  const distance = (span) => Math.max(span.start - time, time - span.end, 0);
  const here = view.trace.spans.filter((span) => span.lane === lane && distance(span) <= near);
  return here.reduce((best, span) => (best && distance(best) <= distance(span) ? best : span), null);
}

function showTip(event) {
  const span = event.buttons ? null : spanUnder(event);
  const tip = $("tip");
  tip.hidden = !span;
  if (!span) return;
  const words = [WORDS[span.state], took(span)].filter(Boolean).join(" · ");
  tip.replaceChildren(span.name, make("small", {}, words));
  tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${event.clientY + 16}px`;
}

function startDrag(event) {
  if (event.button !== 0) return;
  const canvas = event.currentTarget;
  const x = event.offsetX;
  const time = timeAt(canvas, x);
  const isInWindow = canvas === $("overview") && !isWhole() && view.from <= time && time <= view.to;
  const window = isInWindow ? [view.from, view.to] : null;
  Object.assign(drag, { canvas, start: x, now: x, isMoved: false, window });
  canvas.setPointerCapture(event.pointerId);
}

function goOnDragging(event) {
  const { canvas, start, window } = drag;
  if (!canvas) return;
  drag.now = event.offsetX;
  drag.isMoved ||= Math.abs(drag.now - start) > 4;
  if (!drag.isMoved) return;
  const by = timeAt(canvas, drag.now) - timeAt(canvas, start);
  if (window) setWindow(window[0] + by, window[1] + by);
  else if (canvas === $("overview")) setWindow(...draggedWindow());
  redraw();
}

function draggedWindow() {
  const { canvas, start, now } = drag;
  return [timeAt(canvas, Math.min(start, now)), timeAt(canvas, Math.max(start, now))];
}

function endDrag(event) {
  const isLanes = drag.canvas === $("lanes");
  if (isLanes && drag.isMoved) setWindow(...draggedWindow());
  drag.canvas = null;
  if (isLanes && !drag.isMoved) choose(spanUnder(event), { focus: true });
}

/** The wheel zooms; with Shift, or turned sideways, it moves. */
function turnWheel(event) {
  event.preventDefault();
  const pixels = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
  const [x, y] = event.shiftKey ? [event.deltaX || event.deltaY, 0] : [event.deltaX, event.deltaY];
  if (Math.abs(x) > Math.abs(y)) pan((x * pixels) / event.currentTarget.clientWidth);
  else zoom(Math.exp(y * pixels * 0.002), timeAt(event.currentTarget, event.offsetX));
}
