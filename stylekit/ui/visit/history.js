// The history: results that the browser keeps (store.js, before this), the newest first. Hears "stylekit-kept"; hangs by "hang" on the frame.
const find = (name, within = element) => within.querySelector(`[data-part="${name}"]`);
const root = element.firstElementChild, list = find("list"), said = find("said");
const FIRST = 12; // shown before "Show all"
const other = "BroadcastChannel" in globalThis ? new BroadcastChannel("stylekit-results") : null; // tabs share one store
const addresses = new Map(); // key -> of its small picture, for as long as it is shown
let all = false, picked = [], drawing = 0;

const frame = () => document.querySelector("#frame .sk-frame");
const address = (blob) => (blob ? URL.createObjectURL(blob) : null);
const changed = () => { other?.postMessage("changed"); draw(); };

async function draw() {
  const turn = ++drawing, keys = (await store.keys()).reverse(), shown = all ? keys : keys.slice(0, FIRST);
  const results = await Promise.all(shown.map(async (key) => [key, await store.result(key)]));
  if (turn !== drawing) return;
  picked = picked.filter((key) => keys.includes(key));
  for (const [key, url] of addresses) if (!shown.includes(key)) { URL.revokeObjectURL(url); addresses.delete(key); }
  const focus = [document.activeElement?.closest?.("li")?.dataset.key, document.activeElement?.dataset?.part];
  list.replaceChildren(...results.filter(([, result]) => result).map(([key, result]) => item(key, result)));
  if (focus[0]) find(focus[1], list.querySelector(`[data-key="${focus[0]}"]`) ?? list)?.focus();
  root.hidden = !keys.length;
  find("count").textContent = keys.length;
  find("more").hidden = keys.length <= shown.length;
  find("more").textContent = `Show all ${keys.length}`;
  mark();
}

function item(key, result) {
  const part = find("item").content.firstElementChild.cloneNode(true), picture = part.querySelector("img"), title = result.title ?? "";
  part.dataset.key = key;
  if (!addresses.has(key)) addresses.set(key, address(result.after ?? result.file));
  picture.src = addresses.get(key);
  picture.alt = result.alt ?? title;
  picture.loading = "lazy";
  find("title", part).textContent = title.replace(/^Made with /, "");
  find("details", part).textContent = result.details ?? "";
  find("look", part).title = "Look at it";
  find("look", part).onclick = () => look(key);
  find("pick", part).checked = picked.includes(key);
  find("pick", part).setAttribute("aria-label", `Compare ${title}`);
  find("pick", part).onchange = () => {
    picked = picked.includes(key) ? picked.filter((k) => k !== key) : [...picked, key].slice(-2);
    mark();
  };
  find("on", part).setAttribute("aria-label", `Go on with the settings of ${title}`);
  find("on", part).onclick = () => goOn(key);
  find("forget", part).setAttribute("aria-label", `Forget ${title}`);
  find("forget", part).onclick = async () => { await store.remove(key); changed(); };
  return part;
}

function mark() {
  for (const part of list.children) find("pick", part).checked = picked.some((key) => String(key) === part.dataset.key);
  find("compare").disabled = picked.length !== 2;
}

function hang(value) {
  const painting = document.querySelector("#painting input");
  if (painting?.checked) painting.click(); // the painter makes room for the frame
  frame()?.dispatchEvent(new CustomEvent("hang", {detail: {...value, kind: "look"}, bubbles: true}));
  if (matchMedia("(max-width: 768px)").matches) document.getElementById("result").scrollIntoView({behavior: "smooth"});
}

async function look(key) {
  const result = await store.result(key);
  if (!result) return changed(); // another tab has forgotten it
  hang({...result, before: address(result.before), after: address(result.after), file: address(result.file), kept: true});
}

async function compare() {
  const [one, two] = await Promise.all(picked.map(store.result));
  if (!one || !two) return changed();
  const name = (result) => (result.title ?? "").replace(/^Made with /, "");
  hang({before: address(one.after), after: address(two.after), title: `${name(one)} and ${name(two)}`, kept: true, file: null,
    details: "Left of the line the first, right of it the second", alt: `${name(one)} compared with ${name(two)}`});
}

/** As if its PNG were dropped on the page: the settings are restored from the recipe in it. */
async function goOn(key) {
  const result = await store.result(key), field = document.querySelector("#more-photos input[type=file], #drop input[type=file]");
  if (!result?.file || !field) return;
  const data = new DataTransfer();
  data.items.add(new File([result.file], result.name || "result.png", {type: result.file.type || "image/png"}));
  field.files = data.files;
  field.dispatchEvent(new Event("change", {bubbles: true}));
}

async function downloadAll() {
  said.textContent = "Packing …";
  try {
    const results = (await Promise.all((await store.keys()).map(store.result))).filter((result) => result?.file);
    const file = await zip(results.map((result) => [result.name || "result.png", result.file]));
    const link = Object.assign(document.createElement("a"), {href: address(file), download: "stylekit-results.zip"});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    said.textContent = `${results.length} ${results.length === 1 ? "picture" : "pictures"} in stylekit-results.zip.`;
  } catch (error) {
    said.textContent = `They could not be packed (${error.message}): download them one by one.`;
  }
}

find("compare").onclick = compare;
find("all").onclick = downloadAll;
find("more").onclick = () => { all = true; draw(); };
find("clear").onclick = async () => {
  const count = (await store.keys()).length;
  if (!confirm(`Forget ${count === 1 ? "the result" : `all ${count} results`}? What was downloaded stays.`)) return;
  await store.clear();
  all = false;
  changed();
};
document.addEventListener("stylekit-kept", () => { said.textContent = ""; changed(); });
other?.addEventListener("message", draw);
globalThis.stylekit = {...globalThis.stylekit, zip}; // for other parts of the page
draw();
