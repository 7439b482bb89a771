// The page as a whole: every tab has an address, arrow keys go through the tabs, and Ctrl+Enter runs.
const buttons = () => [...document.querySelectorAll('.tabs > .tab-wrapper [role="tab"], .tab-container [role="tab"]')]
  .filter((tab, i, all) => all.indexOf(tab) === i && tab.offsetParent);
const address = (tab) => "#" + tab.textContent.trim().toLowerCase().replace(/\W+/g, "-");
const chosen = () => buttons().find((tab) => tab.getAttribute("aria-selected") === "true");
let going = false; // to an address, which is then no new one

function go() {
  const tab = buttons().find((tab) => address(tab) === location.hash) ?? (location.hash ? null : buttons()[0]);
  if (!tab || tab === chosen()) return;
  going = true;
  tab.click();
}
addEventListener("popstate", go);

// the address by which the page was opened waits for its tab, which may come later than the first one, or not hear a click yet
let awaited = location.hash ? 60 : 0; // times that it is looked for
const arriving = setInterval(() => {
  if (chosen() && address(chosen()) === location.hash) awaited = 0;
  if (awaited === 0) return void clearInterval(arriving);
  awaited--;
  go();
}, 250);
for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => { awaited = 0; }, true); // the visitor goes elsewhere

// the tabs say which is chosen; whoever chose it, a click or Python, the address follows
let shown = null;
new MutationObserver(() => {
  goOn();
  // Gradio's fold does not say whether it is open
  for (const fold of document.querySelectorAll(".label-wrap")) fold.ariaExpanded = fold.classList.contains("open");
  const tab = chosen();
  if (!tab || tab === shown) return;
  const first = shown === null;
  shown = tab;
  const url = tab === buttons()[0] && !location.hash ? null : address(tab);
  if (url && location.hash !== url && !going && !first && !awaited) history.pushState(null, "", url);
  going = false;
}).observe(document.body, {subtree: true, childList: true, attributes: true, attributeFilter: ["aria-selected"]});

// a field for files is drawn anew when it has some, and the focus would be nowhere: it goes to what stands there now
let left = null; // the part of such a field that had the focus last
addEventListener("focusin", ({target}) => {
  const field = target.closest?.(".block:has(input[type=file])");
  left = field && {part: target, id: field.id};
});
addEventListener("pointerdown", ({target}) => { if (left && target.closest?.(".block")?.id !== left.id) left = null; });
addEventListener("focusout", () => setTimeout(goOn)); // what is hidden loses it only when the page is drawn

function goOn() {
  if (!left || document.activeElement !== document.body || left.part.offsetParent) return;
  const next = left.id === "drop" ? "#change, #drop .upload-container" : `#${left.id} :is(.upload-container, .icon-button)`;
  [...document.querySelectorAll(next)].find((part) => part.offsetParent)?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    const run = document.getElementById("go");
    if (run?.offsetParent && !run.disabled) { event.preventDefault(); run.click(); }
  }
  const step = {ArrowRight: 1, ArrowLeft: -1}[event.key], tab = event.target.closest?.('[role="tab"]');
  if (!step || !tab) return;
  const all = buttons(), next = all[(all.indexOf(tab) + step + all.length) % all.length];
  event.preventDefault();
  next.click();
  next.focus();
});
