// Runs before require.js: the widget manager finds its fonts in the site's own copy, whatever page it is on.
window.require = { baseUrl: new URL("vendor/", document.currentScript.src).href };

// The widget manager asks MathJax 2's queue to typeset labels; the pages carry MathJax 3.
document.addEventListener("DOMContentLoaded", () => {
  if (!window.MathJax) return;
  const typeset = (element) => MathJax.startup.promise.then(() => MathJax.typesetPromise([element]));
  MathJax.Hub = { Queue: ([, , element]) => typeset(element) };
});
