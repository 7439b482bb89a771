// The easel. Its value is {slots: [{style, amount} | null, ...], paint: PNG as data URL | null, brush: slot or -1 for the eraser}, one
// slot for each of props.colours; paint is null until something is painted. Python sets props.value (a restored painting) and props.photo.
const HISTORY = 60; // values that undo can go back to
const SIDE = 1024; // pixels of the long side of the paint, where no photo says otherwise
const ERASER = -1;

const find = (name) => element.querySelector(`[data-part="${name}"]`);
const root = element.firstElementChild, easel = find("easel"), photo = find("photo"), view = find("canvas"), ring = find("ring");
const rows = find("palette"), hint = find("hint");
const canvas = () => Object.assign(document.createElement("canvas"), {width: SIDE, height: Math.round(SIDE * 2 / 3)});
const paint = canvas(), stroke = canvas(); // what is painted, and the stroke under the hand, laid on it with the brush's weight
const css = (slot) => `rgb(${props.colours[slot].join(" ")})`;
const styles = () => [...document.querySelectorAll("#style label")].map((l) => ({name: l.querySelector("input").value, title: l.innerText.trim()}));
const title = (name) => styles().find((style) => style.name === name)?.title ?? name;

let value = {slots: props.colours.map(() => null), paint: null, brush: 0};
let past = [], future = [], points = null, loads = 0;
const lens = zooming(easel, easel, { // two fingers, or the mouse with its middle button; one finger paints
  controls: find("lens"),
  most: () => 8,
  grab: (event, {carry, zoom}) => (event.button === 1 && zoom > 1 ? carry : null),
  pinched() { points = null; erase(stroke); drawCanvas(); }, // the first finger's was no stroke
});

// ---- the value

function publish(note) {
  props.value = value;
  trigger("input");
  draw(note);
}

function commit(change) {
  past = [...past, value].slice(-HISTORY);
  future = [];
  value = {...value, ...change};
  publish();
}

async function show(next) {
  const load = ++loads;
  if (next.paint !== value.paint || !next.paint) {
    const picture = next.paint ? await decoded(next.paint) : null;
    if (load !== loads) return;
    if (picture && !photo.naturalWidth) resize(picture.naturalWidth, picture.naturalHeight);
    erase(paint);
    if (picture) paint.getContext("2d").drawImage(picture, 0, 0, paint.width, paint.height);
  }
  value = next;
}

async function step(from, to) {
  if (!from.length) return;
  to.push(value);
  await show(from.pop());
  if (value.brush !== ERASER && !value.slots[value.brush]) value.brush = Math.max(0, value.slots.findIndex(Boolean));
  publish();
}

function pick(style) {
  const slot = value.slots.findIndex((s) => s?.style === style);
  const free = value.slots.indexOf(null);
  if (slot >= 0) {
    if (slot === value.brush) return draw();
    value = {...value, brush: slot};
    publish();
  } else if (!value.slots.some(Boolean)) { // the first one is no step to undo
    value = {...value, slots: value.slots.with(0, {style, amount: 1}), brush: 0};
    publish();
  } else if (free >= 0) {
    commit({slots: value.slots.with(free, {style, amount: 1}), brush: free});
  } else {
    publish(`The palette holds ${value.slots.length} styles: take one off first, or change it in its list.`);
  }
}

// ---- drawing

const erase = (c) => c.getContext("2d").clearRect(0, 0, c.width, c.height);

async function decoded(url) {
  const picture = new Image();
  picture.src = url;
  await picture.decode();
  return picture;
}

function resize(width, height) {
  easel.style.setProperty("--sk-aspect", width / height); // a small photo is as large on the easel as any other
  const k = SIDE / Math.max(width, height);
  for (const c of [paint, stroke, view]) Object.assign(c, {width: Math.round(width * k), height: Math.round(height * k)});
}

function layStroke(context, drawn = stroke, brush = value.brush, weight = find("weight").value) {
  context.save();
  context.globalCompositeOperation = brush === ERASER ? "destination-out" : "source-over";
  context.globalAlpha = brush === ERASER ? 1 : Number(weight) / 100;
  context.drawImage(drawn, 0, 0);
  context.restore();
}

function copied(from, side = Infinity) {
  const k = Math.min(1, side / Math.max(from.width, from.height));
  const to = Object.assign(document.createElement("canvas"), {width: Math.round(from.width * k), height: Math.round(from.height * k)});
  to.getContext("2d").drawImage(from, 0, 0, to.width, to.height);
  return to;
}

/** A picture's alpha in the colour of a brush, as large as the paint. */
function tinted(picture, brush) {
  const to = Object.assign(document.createElement("canvas"), {width: paint.width, height: paint.height}), context = to.getContext("2d");
  context.drawImage(picture, 0, 0, to.width, to.height);
  context.globalCompositeOperation = "source-in";
  context.fillStyle = brush === ERASER ? "black" : css(brush);
  context.fillRect(0, 0, to.width, to.height);
  return to;
}

function drawCanvas() {
  const context = view.getContext("2d");
  erase(view);
  context.drawImage(paint, 0, 0);
  if (points) layStroke(context);
}

function line(from, to) {
  const context = stroke.getContext("2d");
  context.strokeStyle = value.brush === ERASER ? "black" : css(value.brush);
  context.lineWidth = brushWidth();
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(to[0] + (from[0] === to[0] && from[1] === to[1] ? 0.01 : 0), to[1]); // a dot is a line too
  context.stroke();
}

/** In pixels of the paint. The brush is as large on the screen whatever the zoom: enlarged, it paints finer. */
const brushWidth = () => Math.max(1, Number(find("size").value) / 100 * Math.max(paint.width, paint.height) / lens.zoom);

const ringWidth = () => brushWidth() * view.getBoundingClientRect().width / view.width;

function place(event) {
  const box = view.getBoundingClientRect();
  return [(event.clientX - box.left) * view.width / box.width, (event.clientY - box.top) * view.height / box.height];
}

/** Take one colour out of the paint: its share of every pixel, as paint.py reads it. */
function washOut(slot) {
  const context = paint.getContext("2d"), pixels = context.getImageData(0, 0, paint.width, paint.height), d = pixels.data;
  const colour = props.colours[slot], row = props.unmixing.map((weights) => weights[slot]);
  for (let i = 0; i < d.length; i += 4) {
    if (!d[i + 3]) continue;
    const alpha = d[i + 3] / 255;
    const share = Math.max(0, alpha * (row[0] * d[i] / 255 + row[1] * d[i + 1] / 255 + row[2] * d[i + 2] / 255 + row[3]));
    if (share < props.trace) continue;
    const left = alpha - share;
    if (left < props.trace) { d[i + 3] = 0; continue; }
    for (let c = 0; c < 3; c++) d[i + c] = (alpha * d[i + c] - share * colour[c]) / left; // a clamped array rounds and clips
    d[i + 3] = 255 * left;
  }
  context.putImageData(pixels, 0, 0);
}

/** The part of the photo that is painted, 0 to 1, from a small copy. */
function coverage() {
  const small = Object.assign(document.createElement("canvas"), {width: 64, height: 64}), context = small.getContext("2d");
  context.drawImage(paint, 0, 0, 64, 64);
  return context.getImageData(0, 0, 64, 64).data.reduce((sum, level, i) => i % 4 === 3 ? sum + level : sum, 0) / (255 * 64 * 64);
}

// ---- the palette and the tools

function draw(note) {
  const chosen = value.slots.filter(Boolean);
  const names = chosen.map((s) => s.style);
  const free = value.slots.indexOf(null);
  const controls = () => [...rows.querySelectorAll("input, select, button")], focused = controls().indexOf(document.activeElement);
  rows.replaceChildren(...value.slots.map((s, slot) => s && row(s, slot, names)).filter(Boolean));
  if (free >= 0 && chosen.length < styles().length) rows.append(adder(free, names));
  controls()[focused]?.focus(); // who uses the keyboard stays where they were
  find("eraser").setAttribute("aria-pressed", value.brush === ERASER);
  find("undo").disabled = !past.length;
  find("redo").disabled = !future.length;
  find("clear").disabled = !value.paint;
  find("fill").disabled = !photo.src || value.brush === ERASER || !value.slots[value.brush];
  find("weight").disabled = value.brush === ERASER;
  root.style.setProperty("--sk-brush", value.brush === ERASER ? "transparent" : css(value.brush));
  tell(note);
  drawCanvas();
}

function row({style, amount}, slot, names) {
  const item = part("row"), radio = item.querySelector("[type=radio]"), dial = item.querySelector("[type=range]");
  item.style.setProperty("--sk-paint", css(slot));
  radio.checked = slot === value.brush;
  radio.setAttribute("aria-label", `Paint with ${title(style)}`);
  radio.onchange = () => { value = {...value, brush: slot}; publish(); };
  const list = item.querySelector("select");
  list.append(...styles().filter((s) => s.name === style || !names.includes(s.name)).map((s) => new Option(s.title, s.name)));
  if (list.selectedIndex < 0 || !styles().some((s) => s.name === style)) list.prepend(new Option(style, style));
  list.value = style;
  list.setAttribute("aria-label", `Style of colour ${slot + 1}`);
  list.onchange = () => commit({slots: value.slots.with(slot, {style: list.value, amount: value.slots[slot].amount}), brush: slot});
  dial.max = Math.max(100, Math.round(amount * 100));
  dial.value = Math.round(amount * 100);
  dial.setAttribute("aria-label", `Amount of ${title(style)}`);
  const read = item.querySelector("output");
  read.value = `${dial.value} %`;
  const before = value;
  dial.oninput = () => {
    read.value = `${dial.value} %`;
    value = {...value, slots: value.slots.with(slot, {style: value.slots[slot].style, amount: dial.value / 100})};
    tell();
  };
  dial.onchange = () => { const now = value; value = before; commit({slots: now.slots}); };
  const off = item.querySelector("button");
  off.setAttribute("aria-label", `Take ${title(style)} off the palette`);
  off.hidden = names.length < 2;
  off.onclick = () => {
    if (value.paint) washOut(slot);
    const slots = value.slots.with(slot, null);
    commit({slots, paint: value.paint && (coverage() ? paint.toDataURL() : null), brush: slots.findIndex(Boolean)});
  };
  return item;
}

function adder(free, names) {
  const item = part("adder"), list = item.querySelector("select");
  item.style.setProperty("--sk-paint", css(free));
  list.append(...styles().filter((s) => !names.includes(s.name)).map((s) => new Option(s.title, s.name)));
  list.onchange = () => pick(list.value);
  return item;
}

const part = (name) => element.querySelector(`template[data-part="${name}"]`).content.firstElementChild.cloneNode(true);

function tell(note) {
  const chosen = value.slots.filter(Boolean), total = Math.round(chosen.reduce((sum, s) => sum + s.amount, 0) * 100);
  const painted = value.paint && Math.round(coverage() * 100);
  const share = painted >= 1 ? `${painted} %` : "Less than 1 %";
  hint.textContent = note ?? (
    value.paint ? `${share} of the photo is painted${painted < 100 ? "; the rest stays as it is" : ""}.`
    : !chosen.length ? "Add a style to paint with."
    : chosen.length === 1 ? `Paint where ${title(chosen[0].style)} goes. With nothing painted it goes everywhere.`
    : `With nothing painted the styles blend everywhere: total ${total} %${total > 100 ? ", scaled to 100 %" : ""}.`);
}

find("eraser").onclick = () => {
  value = {...value, brush: value.brush === ERASER ? Math.max(0, value.slots.findIndex(Boolean)) : ERASER};
  publish();
};
find("undo").onclick = () => step(past, future);
find("redo").onclick = () => step(future, past);
find("clear").onclick = () => { erase(paint); commit({paint: null}); };
find("fill").onclick = () => {
  const context = stroke.getContext("2d");
  context.fillStyle = css(value.brush);
  context.fillRect(0, 0, stroke.width, stroke.height);
  layDown();
};
find("peek").onclick = ({currentTarget}) => {
  const hidden = currentTarget.getAttribute("aria-pressed") !== "true";
  currentTarget.setAttribute("aria-pressed", hidden);
  view.style.visibility = hidden ? "hidden" : "";
};

// ---- the brush

function layDown(drawn = stroke) {
  layStroke(paint.getContext("2d"), drawn);
  if (drawn === stroke) {
    erase(stroke);
    points = null;
  }
  if (find("peek").getAttribute("aria-pressed") === "true") find("peek").click();
  commit({paint: paint.toDataURL()});
}

easel.onpointerdown = (event) => {
  if (event.button || points || !photo.naturalWidth) return;
  if (value.brush === ERASER ? !value.paint : !value.slots[value.brush]) return;
  event.preventDefault();
  easel.setPointerCapture(event.pointerId);
  points = [place(event)];
  line(points[0], points[0]);
  drawCanvas();
};
easel.onpointermove = (event) => {
  const box = easel.getBoundingClientRect(), width = ringWidth();
  ring.style.cssText = `width:${width}px;height:${width}px;left:${event.clientX - box.left}px;top:${event.clientY - box.top}px`;
  if (!points) return;
  for (const e of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) {
    points.push(place(e));
    line(points.at(-2), points.at(-1));
  }
  drawCanvas();
};
let endStroke = () => layDown(); // snap.js has more to do
easel.onpointerup = easel.onpointercancel = () => { if (points) endStroke(); };
// or the browser takes a quick stroke for a fling of the page, and the tap after it for what stops the fling
easel.addEventListener("touchmove", (event) => { if (points) event.preventDefault(); }, {passive: false});

// on the document, since what was clicked last may be anything; only while the painter is seen, and not in a text field
document.addEventListener("keydown", (event) => {
  if (!element.offsetParent || event.target.matches("textarea, [type=text], [type=number], [type=search]")) return;
  const key = event.key.toLowerCase(), size = find("size");
  if (event.ctrlKey || event.metaKey) {
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    find(key === "y" || event.shiftKey ? "redo" : "undo").click();
  } else if (key === "[" || key === "]") {
    size.value = Number(size.value) + (key === "]" ? 1 : -1);
    ring.style.width = ring.style.height = `${ringWidth()}px`;
  }
});

// ---- from outside

// one after the other: a photo and the paint on it may come together
let last = Promise.resolve();
const inTurn = (job) => { last = last.then(job, job); };

watch("value", () => inTurn(async () => {
  const next = props.value;
  if (!next?.slots || next === value) return;
  past.push(value);
  future = [];
  await show({brush: Math.max(0, next.slots.findIndex(Boolean)), ...next});
  publish();
}));
watch("photo", () => inTurn(async () => {
  const another = photo.naturalWidth > 0;
  photo.src = props.photo;
  await photo.decode();
  root.dataset.state = "photo";
  resize(photo.naturalWidth, photo.naturalHeight);
  lens.view(1);
  if (another && value.paint) return commit({paint: null}); // it was painted on the photo before; undo brings it back
  const now = value;
  value = {...value, paint: null};
  await show(now);
  draw();
}));
element.addEventListener("pick", (event) => pick(event.detail)); // a style chosen elsewhere on the page
document.addEventListener("stylekit-chosen", ({detail}) => { if (element.offsetParent) pick(detail); });
new MutationObserver(() => draw()).observe(document.getElementById("style"), {childList: true, subtree: true}); // other styles there
draw();
