// Strokes that end at edges of the photo, while "Snap" is pressed. A stroke is laid down at once; when the server has said where its edge is, it
// is laid anew, and with it what was painted meanwhile. Stands behind easel.js and select.js, and asks as that does: {stroke, width, number}.
const SNAP_SIDE = 800; // pixels of the mask that is sent
const MOST_WAITING = 8; // strokes; older ones stay as they were drawn
let waiting = []; // strokes whose edge is not known yet, and those after them: {number, under, drawn, brush, weight, after, known}
const snapping = () => find("snap").getAttribute("aria-pressed") === "true";

find("snap").onclick = () => find("snap").setAttribute("aria-pressed", !snapping());

endStroke = () => {
  if (!snapping()) return layDown();
  const under = copied(paint), drawn = copied(stroke), width = brushWidth() / Math.max(paint.width, paint.height);
  if (waiting.length && waiting.at(-1).after !== value.paint) waiting = []; // undone, or something else came: they stay as they are
  layDown();
  waiting.push({number: ++requests, under, drawn, brush: value.brush, weight: find("weight").value, after: value.paint, known: false});
  waiting = waiting.slice(-MOST_WAITING);
  trigger("select", {stroke: copied(drawn, SNAP_SIDE).toDataURL(), width, number: requests});
};

watch("found", async () => {
  const {number, mask, said} = props.found ?? {}, asked = waiting.find((stroke) => stroke.number === number);
  if (!asked) return;
  const picture = mask ? await decoded(mask) : null;
  if (!waiting.includes(asked) || waiting.at(-1).after !== value.paint) return;
  if (picture) relay(asked, picture);
  if (said) tell(said);
  asked.known = true;
  while (waiting[0]?.known) waiting.shift();
});

/** Lay `asked` anew in the shape of `picture`, and what came after it; in the history too. */
function relay(asked, picture) {
  const context = paint.getContext("2d"), anew = waiting.slice(waiting.indexOf(asked)), at = past.length - anew.length;
  asked.drawn = tinted(picture, asked.brush);
  erase(paint);
  context.drawImage(asked.under, 0, 0);
  for (const [k, stroke] of anew.entries()) {
    stroke.under = copied(paint);
    if (k) past[at + k] = {...past[at + k], paint: anew[k - 1].after};
    layStroke(context, stroke.drawn, stroke.brush, stroke.weight);
    stroke.after = paint.toDataURL();
  }
  value = {...value, paint: anew.at(-1).after};
  publish();
}
