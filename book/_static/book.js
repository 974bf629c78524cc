// Runs when the page has been read (deferred).
const root = document.documentElement;
const vendor = new URL("vendor/", document.currentScript.src).href;
const every = (selector, act) => document.querySelectorAll(selector).forEach(act);

// One switch for all code of a page, remembered.
{
  const button = document.createElement("button");
  const set = (shown) => {
    root.classList.toggle("all-code", shown);
    every("details.hide", (fold) => { fold.open = shown; });
    button.textContent = shown ? "Hide all code" : "Show all code";
    button.setAttribute("aria-pressed", shown);
  };
  button.className = "btn btn-sm code-switch";
  button.addEventListener("click", () => {
    const shown = !root.classList.contains("all-code");
    localStorage.setItem("all-code", shown);
    set(shown);
  });
  if (document.querySelector("details.hide")) {
    document.querySelector(".article-header-buttons")?.prepend(button);
    set(localStorage.getItem("all-code") === "true");
  }
}

// What is wider than its place scrolls, and what scrolls can be reached by keyboard.
const reach = () => every("pre, .cell_output, .output, .math, mjx-container[display], .claims, .pst-scrollable-table-container, .sd-table", (box) => {
  const scrolls = box.scrollWidth > box.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(box).overflowX);
  if (scrolls) {
    box.tabIndex = 0;
    if (!box.hasAttribute("role")) { box.setAttribute("role", "region"); box.setAttribute("aria-label", "Scrolls sideways"); }
  } else if (box.getAttribute("aria-label") === "Scrolls sideways") {
    for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
  }
});
addEventListener("load", reach);
addEventListener("resize", reach);
addEventListener("toggle", reach, true);

// A link to a claim lands on it, also after formulas have been set and have moved it.
const land = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let fold = target?.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  target?.scrollIntoView({ behavior: "instant", block: "start" });
};
{
  let moved = false;
  for (const name of ["wheel", "touchmove", "keydown", "pointerdown"]) addEventListener(name, () => { moved = true; }, { once: true });
  const again = () => moved || land();
  addEventListener("load", () => { again(); window.MathJax?.startup?.promise.then(() => { reach(); again(); }); });
  addEventListener("hashchange", land);
}

// The claims on the front page, chosen by part, origin and verdict.
every(".choice", (box) => {
  const form = box.querySelector("form"), rows = [...box.querySelectorAll("tbody tr")];
  form.hidden = false;
  form.addEventListener("input", () => {
    const wanted = [...new FormData(form)].filter(([, value]) => value);
    for (const row of rows) row.hidden = !wanted.every(([name, value]) => row.dataset[name] === value);
    form.querySelector("output").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} claims`;
  });
});

// Paper is light.
{
  let theme;
  addEventListener("beforeprint", () => { theme = root.dataset.theme; root.dataset.theme = "light"; });
  addEventListener("afterprint", () => { root.dataset.theme = theme; });
}

// The widget manager, 3.6 MB, comes when a widget comes near the screen.
{
  const load = (src, data = {}) => new Promise((done) => {
    const script = Object.assign(document.createElement("script"), { src, onload: done });
    Object.assign(script.dataset, data);
    document.head.append(script);
  });
  const views = document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]');
  const near = new IntersectionObserver((seen) => {
    if (!seen.some((one) => one.isIntersecting)) return;
    near.disconnect();
    window.require = { baseUrl: vendor }; // the manager finds its files in the site's own copy
    // It asks MathJax 2's queue to typeset labels; the pages carry MathJax 3.
    if (window.MathJax) MathJax.Hub = { Queue: ([, , element]) => MathJax.startup.promise.then(() => MathJax.typesetPromise([element])) };
    load(`${vendor}require.js`).then(() => load(`${vendor}embed-amd.js`, { jupyterWidgetsCdn: vendor }));
  }, { rootMargin: "100%" });
  views.forEach((view) => near.observe(view.parentElement));
}
