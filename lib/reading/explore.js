{
  const box = document.currentScript.parentElement, figure = box.querySelector("figure"), spoken = box.querySelector("output");
  const { lines, frames, words } = JSON.parse(box.querySelector("script").textContent);
  const sliders = [...box.querySelectorAll("input")];
  let pause;
  const move = () => {
    const at = sliders.reduce((at, slider) => at * (+slider.max + 1) + +slider.value, 0);
    figure.innerHTML = frames[at].map((line) => lines[line]).join("\n");
    figure.setAttribute("aria-label", words[at]);
    for (const slider of sliders) {
      const text = JSON.parse(slider.dataset.stops)[slider.value];
      slider.setAttribute("aria-valuetext", text);
      slider.previousElementSibling.textContent = text;
    }
    clearTimeout(pause); // a screen reader hears where the slider came to rest
    pause = setTimeout(() => { spoken.textContent = words[at]; }, 400);
  };
  for (const slider of sliders) slider.addEventListener("input", move);
  box.querySelector(".sliders").hidden = false;
  box.classList.add("moves");
}
