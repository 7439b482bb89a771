// The pictures of a series. props.value: pieces (series.py), props.mode "list" or "grid", with props.rows and props.columns. A cell of the grid
// is told by "select" {index}. What is done of a list goes to the results of the visit too (visit/keep.js).
const find = (name, within = element) => within.querySelector(`[data-part="${name}"]`);
const make = (tag, given = {}, ...children) => { const part = Object.assign(document.createElement(tag), given); part.append(...children); return part; };
const place = find("pieces"), tools = find("tools"), said = find("said"), grid = props.mode === "grid";
const STATES = {waiting: "Waits for its turn", busy: "Being made"};
const HEAD = 34, SIDE = 150, GAP = 8; // of the sheet, in pixels
let parts = [], shape = "", keeping = Promise.resolve();
const kept = new Set(); // files that are among the results already
const address = (given) => given?.url ?? given ?? "";

function draw() {
  const pieces = Array.isArray(props.value) ? props.value : [];
  const now = JSON.stringify([pieces.map((piece) => piece.name), grid ? [props.rows, props.columns] : 0]);
  if (now !== shape) {
    shape = now;
    said.textContent = "";
    parts = pieces.map(grid ? cell : item);
    place.replaceChildren(...(!pieces.length ? [] : [grid ? table(parts) : make("ul", {}, ...parts)]));
  }
  pieces.forEach((piece, index) => update(parts[index], piece));
  find("none").hidden = pieces.length > 0;
  tools.hidden = !pieces.some((piece) => piece.state === "done");
}

function item() {
  const picture = make("a", {target: "_blank", hidden: true}, make("img", {alt: "", loading: "lazy"}));
  const words = make("div", {}, make("b"), make("span"), make("progress", {max: 1}));
  return make("li", {}, picture, words, make("a", {className: "sk-get", textContent: "Download", hidden: true}));
}

function cell(piece, index) {
  const button = make("button", {type: "button", disabled: true}, make("img", {alt: "", hidden: true}), make("span"), make("progress", {max: 1}));
  button.setAttribute("aria-label", `Go on with ${piece.name}`);
  button.onclick = () => trigger("select", {index});
  return make("td", {}, button);
}

function table(cells) {
  const wide = props.columns.length, heads = props.columns.map((text) => make("th", {scope: "col", textContent: text}));
  const rows = props.rows.map((text, row) =>
    make("tr", {}, make("th", {scope: "row", textContent: text}), ...cells.slice(row * wide, (row + 1) * wide)));
  const scroll = make("div", {className: "sk-sheet", tabIndex: 0},
    make("table", {}, make("thead", {}, make("tr", {}, make("td"), ...heads)), make("tbody", {}, ...rows)));
  scroll.setAttribute("role", "group");
  scroll.setAttribute("aria-label", "The sheet");
  return scroll;
}

function update(part, piece) {
  const done = piece.state === "done", bar = part.querySelector("progress"), picture = part.querySelector("img");
  part.dataset.state = piece.state;
  bar.hidden = piece.state !== "busy";
  bar.value = piece.done;
  bar.setAttribute("aria-label", `Progress of ${piece.name}`);
  const text = piece.said || STATES[piece.state] || "";
  const words = part.querySelector("span");
  if (words.textContent !== text) words.textContent = text;
  if (grid) {
    words.hidden = done;
    part.firstElementChild.disabled = !done;
  } else part.querySelector("b").textContent = piece.name;
  if (!done || picture.dataset.shown) return;
  picture.dataset.shown = "yes";
  picture.src = address(piece.hanging.after);
  picture.hidden = false;
  if (grid) return;
  const [whole, get] = part.querySelectorAll("a");
  whole.href = get.href = address(piece.hanging.file);
  whole.title = `Open ${piece.hanging.name}`;
  picture.alt = piece.hanging.alt;
  get.download = piece.hanging.name;
  get.setAttribute("aria-label", `Download ${piece.hanging.name}`);
  whole.hidden = get.hidden = false;
  const file = address(piece.hanging.file);
  if (!kept.has(file)) {
    kept.add(file);
    keeping = keeping.then(() => globalThis.stylekit?.keepResult?.(piece.hanging));
  }
}

async function all() {
  const done = props.value.filter((piece) => piece.state === "done").map((piece) => piece.hanging);
  const files = await Promise.all(done.map(async ({name, file}) => [name, await (await fetch(address(file))).blob()]));
  return ["stylekit-pictures.zip", await globalThis.stylekit.zip(files), `${done.length} ${done.length === 1 ? "picture" : "pictures"}`];
}

/** The sheet as one picture, with its headings. */
async function sheet() {
  const wide = props.columns.length, images = parts.map((part) => part.querySelector("img"));
  await Promise.all(images.map((image) => image.src && image.decode().catch(() => null)));
  const shown = images.filter((image) => image.naturalWidth);
  const [w, h] = ["naturalWidth", "naturalHeight"].map((side) => Math.max(...shown.map((image) => image[side])));
  const canvas = make("canvas", {width: SIDE + wide * (w + GAP), height: HEAD + props.rows.length * (h + GAP)});
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = "#222";
  pen.font = "16px sans-serif";
  props.columns.forEach((text, i) => pen.fillText(text, SIDE + i * (w + GAP) + 4, 22, w - 8));
  props.rows.forEach((text, i) => pen.fillText(text, 10, HEAD + i * (h + GAP) + h / 2, SIDE - 20));
  images.forEach((image, i) => {
    if (image.naturalWidth) pen.drawImage(image, SIDE + (i % wide) * (w + GAP), HEAD + Math.floor(i / wide) * (h + GAP));
  });
  return ["stylekit-sheet.png", await new Promise((resolve) => canvas.toBlob(resolve)), "The sheet"];
}

find("all").onclick = async () => {
  said.textContent = "Packing …";
  try {
    const [name, blob, what] = await (grid ? sheet() : all());
    const link = make("a", {href: URL.createObjectURL(blob), download: name});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    said.textContent = `${what} in ${name}.`;
  } catch (error) {
    said.textContent = `It could not be packed (${error.message}): download the pictures one by one.`;
  }
};

// files over the limit are left out by name, before they are sent
if (!grid) document.addEventListener("change", (event) => {
  const input = event.target;
  if (input.type !== "file" || !input.closest("#many-photos")) return;
  const large = [...input.files].filter((file) => file.size > props.limit);
  said.textContent = "";
  if (!large.length) return;
  const data = new DataTransfer();
  for (const file of input.files) if (file.size <= props.limit) data.items.add(file);
  input.files = data.files;
  if (!data.files.length) { event.stopImmediatePropagation(); event.preventDefault(); }
  tools.hidden = false;
  const names = large.slice(0, 5).map((file) => file.name).join(", ");
  said.textContent = `${large.length} over ${props.limit / 1e6} MB left out: ${names}${large.length > 5 ? " and others" : ""}.`;
}, true);

watch(["value", "rows", "columns"], draw);
draw();
