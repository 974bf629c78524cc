// Leads every result of the search to the section that holds most of the words, and shows them in their surroundings.
// SECTIONS, set above: {page: [[anchor, title, text], …]}. It is part of the site, so it works without a server too.
addEventListener("DOMContentLoaded", () => { // by then the theme's and Sphinx's own scripts have run, in whatever order
  const list = new URLSearchParams(location.search).get("q")?.toLowerCase().split(/[^\p{L}\p{N}_]+/u).filter(Boolean) ?? [];
  const words = list.map((word) => [word, new Stemmer().stemWord(word)]);
  const place = (text, word) => Math.max(...word.map((form) => text.indexOf(form)));
  const score = ([, title, text]) =>
    words.reduce((sum, w) => sum + 2 * (place(title.toLowerCase(), w) >= 0) + (place(text.toLowerCase(), w) >= 0), 0);

  function lead(item) {
    const link = item.querySelector("a"), [page, hash] = link.getAttribute("href").split("#");
    const sections = SECTIONS[page.replace(/\.html$/, "")] ?? [];
    const best = hash ? sections.find(([anchor]) => anchor == hash) : sections.toSorted((a, b) => score(b) - score(a))[0];
    if (!best || item.querySelector(".context")) return;
    const [anchor, title, text] = best;
    link.setAttribute("href", `${page}#${anchor}`);
    if (!link.textContent.endsWith(title)) link.textContent += ` › ${title}`;
    const at = words.map((w) => place(text.toLowerCase(), w)).filter((i) => i >= 0)[0] ?? 0;
    const from = Math.max(0, text.lastIndexOf(" ", at - 90) + 1), to = text.indexOf(" ", at + 150);
    const around = item.appendChild(Object.assign(document.createElement("p"), { className: "context" }));
    around.textContent = (from ? "…" : "") + text.slice(from, to < 0 ? undefined : to) + (to < 0 ? "" : "…");
  }

  const all = () => document.querySelectorAll("ul.search > li").forEach(lead);
  new MutationObserver(all).observe(document.getElementById("search-results"), { childList: true, subtree: true });
  all();
});
