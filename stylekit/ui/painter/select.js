// Select without painting: a thing by its name, or a click on it, is filled with the brush; then its edge can be changed. Stands behind
// easel.js and uses what is there. Asks by "select" {thing | x, y, grow, soften, invert, number}; props.found answers {number, mask | said}.
const EDGE = 0.006; // of the long side, by which one click moves or softens an edge
const MOST_EDGE = 0.096;
let asked = null, requests = 0, laid = null;
const picking = () => find("pick").getAttribute("aria-pressed") === "true";

function ask(request, again = false) {
  if (!photo.naturalWidth) return void (hint.textContent = "Choose a photo first.");
  if (value.brush !== ERASER && !value.slots[value.brush]) return void (hint.textContent = "Add a style to paint with first.");
  asked = {grow: 0, soften: 0, invert: false, ...request, again, number: ++requests};
  hint.textContent = "Looking for it …";
  const {again: _, ...sent} = asked;
  trigger("select", sent);
}

for (const button of element.querySelectorAll("[data-thing]")) button.onclick = () => ask({thing: button.dataset.thing});
find("pick").onclick = () => find("pick").setAttribute("aria-pressed", !picking());
const within = (number, low) => Math.min(MOST_EDGE, Math.max(low, number));
for (const [name, change] of Object.entries({
  invert: () => ({invert: !asked.invert}),
  grow: () => ({grow: within(asked.grow + EDGE, -MOST_EDGE)}),
  shrink: () => ({grow: within(asked.grow - EDGE, -MOST_EDGE)}),
  soften: () => ({soften: within(asked.soften + EDGE, 0)}),
})) find(name).onclick = () => ask({...asked, ...change()}, true);

// before the brush, whose listener is on the same element; a click is over before it asks, since two fingers zoom
let clicked = null;
easel.addEventListener("pointerdown", (event) => {
  if (!picking() || event.button || !event.isPrimary || !photo.naturalWidth) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const [x, y] = place(event);
  clicked = {x: x / view.width, y: y / view.height};
}, true);
easel.addEventListener("pointerup", () => {
  if (clicked) ask(clicked);
  clicked = null;
}, true);

async function lay(mask) {
  const picture = await decoded(mask);
  if (asked.again && laid === value && past.length) await show(past.pop()); // the same fill with another edge, one step to undo
  layDown(tinted(picture, value.brush));
  laid = value;
  for (const name of ["invert", "grow", "shrink", "soften"]) find(name).disabled = false;
}

watch("found", () => {
  if (!asked || props.found?.number !== asked.number) return; // something else was asked for since
  if (props.found.said) hint.textContent = props.found.said;
  else if (props.found.mask) lay(props.found.mask);
});
watch("photo", () => { for (const name of ["invert", "grow", "shrink", "soften"]) find(name).disabled = true; });
