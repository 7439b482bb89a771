// Keeps the visit in the browser (store.js, which stands before this) and brings it back when the page is opened again. props.value, sent by
// "input", is {settings, own, photo, example}; Python answers with {brought: true}. A photo too large is refused here, by "select".
const said = element.querySelector("p");
const PATIENCE = 20_000; // milliseconds until the page is used without what was kept
let brought = false, held = false, arrive = null, picked = null, waiting = null, saving = null, note = "";
const arrival = new Promise((resolve) => { arrive = resolve; });

globalThis.stylekit = {...globalThis.stylekit, store, keepResult}; // for the other parts of the page

async function keep(key, value) {
  if (brought) tell(await store.put(key, value));
}

const NOTHING = "This browser keeps nothing of this page now, since its store is full or closed: download what you want to have.";
const ROOM = "made room for the newest, since the browser's store is full: download what you want to have.";

/** more: what is to be said if all is well, until there is something else. */
function tell(kept, more = note) {
  note = more;
  said.textContent = kept ? note : NOTHING;
}

// ---- what to keep

// the file itself, as it was chosen, until the server has said that it is a photo
document.addEventListener("change", (event) => {
  const input = event.target;
  if (input.type !== "file" || !input.closest("#drop, #change, #more-photos, #own-style")) return;
  if (!brought && input.files.length) return holdFiles(event, input);
  const large = [...input.files].find((file) => file.size > props.limit);
  if (large) {
    event.stopImmediatePropagation();
    event.preventDefault();
    input.value = "";
    props.value = {name: large.name, size: large.size};
    trigger("select");
  } else if (input.files.length && !input.closest("#own-style")) {
    picked = input.files[0];
  }
}, true);

// what is chosen while the visit comes back waits for it, or what was kept would be laid over it
document.addEventListener("click", (event) => {
  if (!brought && event.target.closest("#examples button")) hold(event, () => event.target.click());
}, true);

function holdFiles(event, input) {
  const {files} = input;
  hold(event, () => {
    const field = input.isConnected ? input : document.querySelector("#more-photos input[type=file], #drop input[type=file]");
    field.files = files;
    field.dispatchEvent(new Event("change", {bubbles: true}));
  });
}

function hold(event, go) {
  event.stopImmediatePropagation();
  event.preventDefault();
  held ||= !event.target.closest("#own-style");
  arrival.then(go);
}

// an upload that breaks off is told here, since Gradio's own words are the browser's; the server may be out of reach
const reach = globalThis.fetch.bind(globalThis);
globalThis.fetch = (...all) => reach(...all).catch((error) => {
  if (/\/upload\b/.test(all[0]?.url ?? all[0]) && picked) lost(picked.name);
  throw error;
});

function lost(name) {
  const line = document.querySelector("#status .sk-status"), words = line?.querySelector("[role=status]");
  picked = null;
  document.querySelectorAll("#drop input[type=file], #more-photos input[type=file]").forEach((field) => { field.value = ""; });
  if (!words) return;
  line.dataset.state = "error";
  words.textContent = `${name} did not arrive, since the connection broke off: choose it again.`;
  setTimeout(() => document.querySelectorAll('[data-testid="toast-body"] button').forEach((close) => close.click()), 100);
}

document.addEventListener("stylekit-settings", ({detail}) => {
  waiting = {...waiting, ...detail};
  clearTimeout(saving);
  saving = setTimeout(() => { keep("settings", waiting); }, 300);
});
document.addEventListener("stylekit-own", ({detail}) => keep("own", detail));

document.addEventListener("hung", async ({target, detail}) => {
  if (target.id !== "frame" && !target.closest("#frame")) return;
  if (detail.kind === "photo" && detail.source === "upload" && picked) await keep("photo", {name: picked.name, blob: picked});
  else if (detail.kind === "photo" && detail.source.startsWith("example")) await keep("photo", {example: Number(detail.source.slice(7))});
  if (detail.kind === "photo" && detail.source === "kept") await hangLatest(detail.photo);
  if (detail.kind === "result" && !detail.kept) await keepResult(detail);
});

async function keepResult(detail) {
  const blob = async (given) => (given ? (await fetch(given.url ?? given)).blob() : null);
  try {
    const [before, after, file] = await Promise.all([detail.before, detail.after, detail.file].map(blob));
    const {key, dropped} = await store.add({...detail, before, after, file, made: Date.now()});
    const oldest = dropped === 1 ? "The oldest of your results has" : `The ${dropped} oldest of your results have`;
    tell(key !== undefined, dropped ? `${oldest} ${ROOM}` : "");
    document.dispatchEvent(new CustomEvent("stylekit-kept", {detail: {key}}));
  } catch { tell(false); }
}

/** A kept result as a frame takes it; the addresses live as long as the page. */
function hanging(result) {
  const address = (blob) => blob && URL.createObjectURL(blob);
  return {...result, before: address(result.before), after: address(result.after), file: address(result.file), kept: true};
}

async function hangLatest(photo) {
  const key = (await store.keys()).at(-1), result = key === undefined ? null : await store.result(key);
  if (result?.photo !== photo) return; // a result hangs beside its own photo only
  document.querySelector("#frame .sk-frame")?.dispatchEvent(new CustomEvent("hang", {detail: hanging(result), bubbles: true}));
}

// ---- bringing it back

async function bring() {
  const [settings, own, photo] = await Promise.all(["settings", "own", "photo"].map(store.get));
  if (!settings && !own && !photo) return arrived();
  const value = {settings, own, photo: null, example: photo?.example ?? null};
  if (photo?.blob) {
    try {
      const sent = await upload(new File([photo.blob], photo.name, {type: photo.blob.type}));
      value.photo = {path: sent.path, orig_name: photo.name, meta: {_type: "gradio.FileData"}};
    } catch { // it stays in the store, for another time
      tell(true, `${photo.name} is kept in this browser but could not be sent to the server: reload the page, or choose it again.`);
    }
  }
  waiting = settings;
  if (held) Object.assign(value, {photo: null, example: null}); // another photo is on its way
  props.value = value;
  trigger("input");
}
/** From now on what changes is kept; a link's settings come only now. */
function arrived() {
  brought = globalThis.stylekit.brought = true;
  arrive();
}
watch("value", () => { if (props.value?.brought) arrived(); });
setTimeout(arrived, PATIENCE);
bring();
