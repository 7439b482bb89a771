// Zoom and pan of what hangs in the frame, by zooming.js; stands behind frame.js and uses what is there. Enlarged, the whole result takes the
// place of its copy.
const actual = find("actual"), level = find("level");
const NEAR = 28; // pixels around the line that still grip it
let current = null, exact = false;

const natural = () => Math.max(after.hidden ? before.naturalWidth : after.naturalWidth, 1);
const width = () => hung.getBoundingClientRect().width || 1;
const one = () => natural() / (width() * devicePixelRatio); // the zoom at which a pixel of the picture is one of the screen

const lens = zooming(hung, frame, {
  controls: find("zoom"),
  most: () => Math.max(4, 4 * one()),
  changed(zoom) {
    level.textContent = zoom > 1 ? `${Math.round(100 * zoom / one())} %` : "";
    if (zoom > 1) sharpen();
  },
  grab(event, {part, carry, zoom}) {
    if (event.button || zoom <= 1) return null;
    const line = !at.hidden && Math.abs(part(event)[0] - at.value / 100) * width() < NEAR;
    return line ? (now) => { at.value = 100 * now[0]; move(); } : carry;
  },
});

/** The screen shows a copy; enlarged, the picture itself. */
async function sharpen() {
  const file = source(current?.file), hanging = current;
  if (!file || after.src === file || after.dataset.whole === file) return;
  after.dataset.whole = file;
  const picture = await ready(file);
  if (!picture || hanging !== current) return;
  after.src = picture.src;
  lens.view(exact ? Math.max(1, one()) : lens.zoom);
}

find("in").addEventListener("click", () => { exact = false; });
actual.addEventListener("click", () => {
  const whole = Math.max(1, one());
  exact = !(lens.zoom > 1 && Math.abs(lens.zoom - whole) < 0.01);
  lens.view(exact ? whole : 1);
});
element.addEventListener("hung", ({detail}) => {
  const same = current?.photo && current.photo === detail.photo;
  current = detail;
  delete after.dataset.whole;
  lens.view(same ? lens.zoom : 1);
});
