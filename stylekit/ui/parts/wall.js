// The wall: look at a style large, use it, compare before and after, search.
const name = (event) => event.target.closest(".sk-card")?.dataset.name;
element.addEventListener("click", (event) => {
  if (event.target.closest(".sk-use")) trigger("submit", {name: name(event)});
  else if (event.target.closest(".sk-pair")) {
    trigger("select", {name: name(event)});
    document.getElementById("piece").scrollIntoView({behavior: "smooth", block: "start"});
  }
});
element.addEventListener("pointermove", (event) => { // the line between before and after follows the pointer, or a finger that goes sideways
  const pair = event.target.closest(".sk-pair");
  if (!pair) return;
  const box = pair.getBoundingClientRect();
  pair.style.setProperty("--sk-at", Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
});
element.addEventListener("pointerout", (event) => {
  if (event.pointerType !== "touch") event.target.closest(".sk-pair")?.style.removeProperty("--sk-at");
});
element.addEventListener("keydown", (event) => { // and the arrow keys
  const pair = event.target.closest(".sk-pair"), step = {ArrowLeft: -0.1, ArrowRight: 0.1}[event.key];
  if (!pair || !step) return;
  event.preventDefault();
  const at = Number(pair.style.getPropertyValue("--sk-at") || 0.36) + step;
  pair.style.setProperty("--sk-at", Math.min(1, Math.max(0, at)));
});
element.addEventListener("input", (event) => {
  if (event.target.type !== "search") return;
  event.stopPropagation();
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  element.querySelectorAll(".sk-card").forEach((card) => {
    card.hidden = !words.every((word) => card.dataset.words.includes(word));
    shown += !card.hidden;
  });
  element.querySelector(".sk-none").hidden = shown > 0;
});
