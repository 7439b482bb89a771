// Leaving asks while something runs. In the page's head, so that it comes before Gradio's own listener and can keep it from being called: that
// one hangs up, even if the visitor then stays.
addEventListener("beforeunload", (event) => {
  if (!document.querySelector('.sk-status[data-state="busy"]')) return;
  event.stopImmediatePropagation();
  event.preventDefault();
  event.returnValue = "";
});
