/**
 * Zoom and pan of what lies in `area`: Ctrl and wheel, two fingers, the buttons "in" and "out" of `controls`, arrow keys on these. The view is
 * --sk-zoom and the picture's offset in parts of the area, --sk-x and --sk-y, on `styled`, which has data-zoomed while it is enlarged.
 *
 * most: the greatest zoom, now. changed: told of every other view. grab: what one pointer that was put down does when it moves, by
 * where it is and was; nothing if that is not ours. pinched: told when a second finger comes. Our listeners are called before others.
 */
function zooming(area, styled, {controls, most, changed = () => {}, grab = () => null, pinched = () => {}}) {
  const STEP = 1.5;
  const button = (name) => controls.querySelector(`[data-part="${name}"]`);
  const fingers = new Map(); // pointer -> where it is
  let zoom = 1, x = 0, y = 0, hand = null;

  function view(next, at = [0.5, 0.5]) {
    const to = Math.min(most(), Math.max(1, next));
    x = at[0] - (at[0] - x) * to / zoom;
    y = at[1] - (at[1] - y) * to / zoom;
    zoom = to;
    pan(0, 0);
  }

  function pan(dx, dy) {
    x = Math.min(0, Math.max(1 - zoom, x + dx));
    y = Math.min(0, Math.max(1 - zoom, y + dy));
    for (const [name, value] of [["zoom", zoom], ["x", x], ["y", y]]) styled.style.setProperty(`--sk-${name}`, value);
    styled.toggleAttribute("data-zoomed", zoom > 1);
    button("out").disabled = zoom <= 1;
    button("in").disabled = zoom >= most() - 0.001;
    changed(zoom);
  }

  const part = (event) => {
    const box = area.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  const carry = (now, was) => pan(now[0] - was[0], now[1] - was[1]);
  const between = ([a, b]) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  const apart = ([a, b]) => {
    const box = area.getBoundingClientRect();
    return Math.hypot((a[0] - b[0]) * box.width, (a[1] - b[1]) * box.height) || 1e-3;
  };

  area.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
    event.preventDefault();
    view(zoom * Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), part(event));
  }, {passive: false});
  area.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, part(event));
    if (fingers.size === 2) pinched();
    hand = fingers.size > 1 ? carry : grab(event, {part, carry, zoom});
    if (!hand) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    area.setPointerCapture(event.pointerId);
  }, true);
  area.addEventListener("pointermove", (event) => {
    const was = fingers.get(event.pointerId);
    if (!was) return;
    const old = [...fingers.values()], now = part(event);
    fingers.set(event.pointerId, now);
    if (!hand) return;
    event.stopImmediatePropagation();
    if (fingers.size === 1) return void hand(now, was);
    const all = [...fingers.values()], [from, to] = [between(old), between(all)];
    view(zoom * apart(all) / apart(old), from);
    carry(to, from);
  }, true);
  for (const end of ["pointerup", "pointercancel"]) area.addEventListener(end, (event) => {
    fingers.delete(event.pointerId);
    if (hand) event.stopImmediatePropagation();
    if (!fingers.size) hand = null; // the finger that is left of two goes on carrying
  }, true);

  button("in").addEventListener("click", () => view(zoom * STEP));
  button("out").addEventListener("click", () => view(zoom / STEP < 1.05 ? 1 : zoom / STEP));
  controls.addEventListener("keydown", (event) => {
    const way = {ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[event.key];
    if (!way || zoom <= 1) return;
    event.preventDefault();
    pan(way[0] / 8, way[1] / 8);
  });
  return {view, get zoom() { return zoom; }};
}
