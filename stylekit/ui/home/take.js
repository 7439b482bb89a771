// What is beside the download. Hears "hung" from the frame; asks by "submit" {file, kind, paper, photo}; props.value answers {taken, name}.
// A print hangs as a result of its own, and is then downloaded.
const find = (name) => element.querySelector(`[data-part="${name}"]`);
const root = element.firstElementChild, kind = find("kind"), paper = find("paper"), share = find("share"), about = find("about");
const TYPES = {png: "image/png", jpg: "image/jpeg", webp: "image/webp"};
const type = (name) => TYPES[name.split(".").pop()] ?? "image/png";
let hung = null, photo = "", printing = false, sheet = null; // sheet: the file that the share sheet would take

const save = (address, name) => Object.assign(document.createElement("a"), {href: address, download: name}).click();
const blob = async (given) => (await fetch(given.url ?? given)).blob();

document.addEventListener("hung", async ({target, detail}) => {
  if (!target.closest("#frame")) return;
  if (detail.kind === "photo") photo = detail.photo;
  if (detail.kind === "live") return;
  hung = detail.file ? detail : null;
  root.hidden = !hung;
  sheet = null;
  share.hidden = true;
  explain();
  if (!hung) return;
  if (printing && hung.kind === "result") save(hung.file.url ?? hung.file, hung.name);
  printing = false;
  if (!navigator.canShare) return;
  const shown = hung, file = new File([await blob(shown.file)], shown.name, {type: type(shown.name)});
  if (shown !== hung || !navigator.canShare({files: [file]})) return;
  sheet = file;
  share.hidden = false;
});

function explain() {
  const own = hung && hung.photo && hung.photo === photo;
  for (const option of paper.options) option.disabled = Boolean(option.value) && !own;
  if (paper.selectedOptions[0]?.disabled) paper.value = "";
  about.textContent = !own ? "Print sizes need the photo of this result on the page."
    : paper.value ? "Drawn anew at that size, 300 dots per inch; the recipe is in the file." : "The recipe is in the file, whatever the format.";
}
paper.addEventListener("change", explain);

share.addEventListener("click", async () => {
  try { await navigator.share({files: [sheet], title: hung.title}); } catch (error) {
    if (error.name !== "AbortError") about.textContent = `It could not be shared (${error.message}): download it.`;
  }
});

find("take").addEventListener("click", async () => {
  if (!hung) return;
  if (!paper.value && type(hung.name) === TYPES[kind.value === "jpeg" ? "jpg" : kind.value]) return save(hung.file.url ?? hung.file, hung.name);
  let file = hung.file;
  if (!file.path) file = {...(await upload(new File([await blob(file)], hung.name, {type: type(hung.name)}))), meta: {_type: "gradio.FileData"}};
  printing = Boolean(paper.value);
  props.value = {file, kind: kind.value, paper: paper.value, photo: hung.photo};
  trigger("submit");
});
watch("value", () => {
  if (props.value?.taken) save(props.value.taken.url, props.value.name);
});
