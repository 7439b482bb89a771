// Presets, links and files of settings. Wants the settings of now by "submit" {want, name}, which props.value answers with {gave, text, titles,
// styles} or {said}; brings some back by "select". Presets lie in the browser's store (visit/store.js) under one name, for all tabs of it.
const find = (name, within = element) => within.querySelector(`[data-part="${name}"]`);
const list = find("list"), name = find("name"), said = find("said"), address = find("address");
const KEY = "presets", other = "BroadcastChannel" in globalThis ? new BroadcastChannel("stylekit-presets") : null;
const ready = new Promise((resolve) => {
  const look = () => (globalThis.stylekit?.brought ? resolve(globalThis.stylekit.store) : setTimeout(look, 100));
  look();
});
const saved = async () => (await (await ready).get(KEY)) ?? [];
let turn = 0;

async function keep(presets, what) {
  const kept = await (await ready).put(KEY, presets);
  say(kept ? what : "This browser keeps nothing of this page now: save the settings as a file.");
  other?.postMessage("changed");
  await draw();
}
const say = (text) => { said.textContent = text; };

async function draw() {
  const mine = ++turn, presets = await saved();
  if (mine !== turn) return;
  list.replaceChildren(...presets.map(item));
  find("none").hidden = presets.length > 0;
}

function item(preset) {
  const part = find("item").content.firstElementChild.cloneNode(true), use = find("use", part);
  use.textContent = preset.name;
  use.title = `Use ${preset.name}`;
  use.onclick = () => bring({preset: preset.name, text: preset.text, titles: preset.titles});
  find("rename", part).setAttribute("aria-label", `Rename ${preset.name}`);
  find("rename", part).onclick = () => rename(part, preset.name);
  find("remove", part).setAttribute("aria-label", `Remove ${preset.name}`);
  find("remove", part).onclick = async () => {
    await keep((await saved()).filter((one) => one.name !== preset.name), `${preset.name} is removed.`);
    name.focus();
  };
  return part;
}

function rename(part, old) {
  const field = Object.assign(document.createElement("input"), {type: "text", maxLength: 40, value: old});
  field.setAttribute("aria-label", `New name for ${old}`);
  find("use", part).replaceWith(field);
  field.select();
  let over = false;
  const end = async (take) => {
    if (over) return;
    over = true;
    const called = field.value.trim(), presets = await saved();
    if (!take || !called || called === old) return draw();
    if (presets.some((one) => one.name === called)) { say(`There is a preset called ${called} already: choose another name.`); return draw(); }
    await keep(presets.map((one) => (one.name === old ? {...one, name: called} : one)), `It is called ${called} now.`);
  };
  field.onkeydown = (event) => { if (["Enter", "Escape"].includes(event.key)) end(event.key === "Enter"); };
  field.onblur = () => end(true);
}

function bring(value) {
  props.value = {...value, at: Date.now()};
  trigger("select");
}

function want(what) {
  say("");
  address.hidden = true;
  props.value = {want: what, at: Date.now()};
  trigger("submit");
}

find("save").onclick = () => {
  if (name.value.trim()) want("preset");
  else { say("Write a name first."); name.focus(); }
};
name.onkeydown = (event) => { if (event.key === "Enter" && !event.ctrlKey) find("save").click(); };
find("link").onclick = () => want("link");
find("file").onclick = () => want("file");

watch("value", async () => {
  const {gave, text, titles, styles, complaint} = props.value ?? {};
  if (complaint) say(complaint);
  else if (gave === "preset") {
    const called = name.value.trim(), presets = await saved(), there = presets.some((one) => one.name === called);
    if (there && !confirm(`Replace the preset ${called}?`)) return;
    await keep([...presets.filter((one) => one.name !== called), {name: called, text, titles}], `${called} is saved in this browser.`);
    name.value = "";
  } else if (gave === "file") {
    const url = URL.createObjectURL(new Blob([text], {type: "application/json"}));
    Object.assign(document.createElement("a"), {href: url, download: `stylekit-${styles.join("-").replace(/[^\w-]+/g, "-") || "settings"}.json`}).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    say("Drop the file where photos go, and the settings are back.");
  } else if (gave === "link") {
    address.value = `${location.origin}${location.pathname}${location.search}#settings=${text}`;
    address.hidden = false;
    try {
      await navigator.clipboard.writeText(address.value);
      say("The link is copied.");
    } catch {
      address.select();
      say("Copy the link from the field.");
    }
  }
});
other?.addEventListener("message", draw);
draw();

// a link with settings, once what the browser kept is back; then the address is the page's own again
const given = /^#settings=([\w-]*)/.exec(location.hash);
if (given) ready.then(() => {
  history.replaceState(null, "", location.pathname + location.search);
  bring({link: given[1]});
});
addEventListener("hashchange", () => {
  const later = /^#settings=([\w-]*)/.exec(location.hash);
  if (!later) return;
  history.replaceState(null, "", location.pathname + location.search);
  bring({link: later[1]});
});
