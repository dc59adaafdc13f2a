"use strict";
document.documentElement.classList.add("js");
document.querySelectorAll(".viewer").forEach((viewer) => {
  const moments = Array.from(viewer.querySelectorAll(".moment"));
  const slider = viewer.querySelector("input[type=range]");
  const play = viewer.querySelector("button");
  let timer = null;
  function show() {
    moments.forEach((moment, index) => moment.classList.toggle("on", index === Number(slider.value)));
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }
  slider.addEventListener("input", () => { stop(); show(); });
  play.addEventListener("click", () => {
    if (timer) { stop(); return; }
    play.textContent = "Stop";
    timer = setInterval(() => {
      slider.value = (Number(slider.value) + 1) % moments.length;
      show();
    }, 500);
  });
  show();
});
window.addEventListener("beforeprint", () => {  // browsers that print closed parts closed
  document.querySelectorAll("details").forEach((part) => { part.open = true; });
});
