// The frame. props.value is a Hanging (frame.py). Tells "hung" with what hangs; "hang" with such a value hangs it from the browser's side.
const find = (name) => element.querySelector(`[data-part="${name}"]`);
const frame = find("frame"), hung = find("hung"), before = find("before"), after = find("after"), at = find("at"), whole = find("whole");
const title = find("title"), details = find("details"), download = find("download");
const source = (given) => given?.url ?? given ?? "";
const FORMATS = {jpg: "JPEG", webp: "WebP"};
let rest = null, photo = "", latest = 0;

/** The picture at `address`, ready to be painted without a flash; null for none, or one that has gone. */
async function ready(address) {
  if (!address) return null;
  const picture = new Image();
  picture.src = address;
  try { await picture.decode(); } catch { return null; }
  return picture;
}

async function hang(next) {
  if (next?.kind === "back") next = rest;
  if (!next?.kind) return;
  if (next.kind === "photo") photo = next.photo;
  else if (next.photo !== photo && ["live", "result"].includes(next.kind)) return; // of a photo that has been changed meanwhile
  const turn = ++latest;
  if (next.kind !== "live") rest = next;
  const [one, two] = await Promise.all([ready(source(next.before)), ready(source(next.after))]);
  if (turn !== latest) return;
  const shown = two ?? one, pair = Boolean(one && two);
  frame.dataset.kind = next.kind;
  frame.toggleAttribute("data-empty", !shown);
  frame.toggleAttribute("data-pair", pair);
  if (shown) frame.style.setProperty("--sk-aspect", shown.naturalWidth / shown.naturalHeight);
  frame.style.setProperty("--sk-most", next.most ? `${next.most}px` : "100%");
  const another = before.src !== (one?.src ?? "");
  for (const [place, picture, alt] of [[before, one, pair ? "The photo" : next.alt], [after, two, next.alt]]) {
    place.hidden = !picture;
    place.alt = picture ? alt : "";
    if (picture) place.src = picture.src; else place.removeAttribute("src");
  }
  at.hidden = !pair;
  if (another) at.value = 50;
  move();
  title.textContent = next.title;
  details.textContent = next.details;
  download.hidden = !next.file;
  download.download = next.name;
  download.textContent = `Download ${FORMATS[next.name?.split(".").pop()] ?? "PNG"}`;
  if (next.file) download.href = source(next.file); else download.removeAttribute("href");
  element.dispatchEvent(new CustomEvent("hung", {detail: next, bubbles: true}));
}

function move(share = at.value / 100) {
  frame.style.setProperty("--sk-at", share);
  at.setAttribute("aria-valuetext", `${Math.round(share * 100)} % photo`);
}

at.addEventListener("input", () => move());
whole.addEventListener("click", () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else if (frame.requestFullscreen) frame.requestFullscreen();
  else frame.classList.toggle("sk-full"); // phones that give only films the whole screen
});
// while C is held the photo is seen; not while something is written
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") frame.classList.remove("sk-full");
  if (event.key.toLowerCase() !== "c" || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.matches("textarea, select, input:not([type=range], [type=radio], [type=checkbox])")) return;
  if (element.offsetParent && !at.hidden) move(1);
});
const release = (event) => { if (!event.key || event.key.toLowerCase() === "c") move(); };
document.addEventListener("keyup", release);
addEventListener("blur", release);

element.addEventListener("hang", (event) => hang(event.detail));
watch("value", () => hang(props.value));
hang(props.value);
