"""The printed book: every page of the built site through headless Chromium, with contents and page numbers.

    python -m lib.publishing.pdf _build/html _build/opening-the-black-box.pdf

Code is folded away, and moving pictures show their opening frame, with a note. Links between chapters stay in the book.
"""

import argparse
import html
import shutil
import sys
import tempfile
from pathlib import Path

import yaml
from playwright.sync_api import sync_playwright
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, NameObject
from tqdm import tqdm

from .bibliography import ROOT

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--allow-file-access-from-files",
]
STYLE = (Path(__file__).parent / "print.css").read_text(encoding="utf-8")
SETTLE = 60_000  # milliseconds that a page may take to typeset its formulas and to show its pictures
# Brings every part of a page near the screen once, so that what loads late is there.
VISIT = """async () => {
  for (let y = 0; y < document.body.scrollHeight; y += 600) {
    scrollTo(0, y);
    await new Promise((done) => setTimeout(done, 30));
  }
  await window.MathJax?.startup?.promise;
}"""
# Opens the notes that are folded, though not the list of all claims, and says of what moves that it does.
UNFOLD = """() => {
  document.querySelectorAll("details.sd-dropdown").forEach((part) => (part.open = true));
  document.querySelectorAll(".explorable").forEach((box) => box.after(Object.assign(document.createElement("p"), {
    className: "printed", textContent: box.classList.contains("live")
      ? "On the site these networks train while you watch. Here they have not begun."
      : "On the site a slider moves this picture. Here is its opening frame." })));
}"""


def pages() -> list[tuple[str | None, str]]:
    """The pages of the book in its order: the part that begins with one, or None, and its name, such as `book/lottery`."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    listed: list[tuple[str | None, str]] = []
    for part in toc["parts"]:
        captions = [part["caption"], *[None] * (len(part["chapters"]) - 1)]
        listed += zip(captions, [chapter["file"] for chapter in part["chapters"]], strict=True)
    return [(None, toc["root"]), *listed]


def foot(title: str, first: int) -> str:
    """CSS for the foot of every page: a title, and the page's number from `first` on."""
    words = title.replace("\\", "").replace('"', "'")
    font = "font: 8pt system-ui, sans-serif;"
    return (
        f'@page {{ @bottom-left {{ content: "{words}"; {font} }} @bottom-right {{ content: counter(page); {font} }} }}\n'
        f"@page :first {{ counter-set: page {first}; }}"
    )


def print_page(browser, path: Path, out: Path, first: int) -> str:
    """Print one page of the site (paths), its first sheet with the number `first`; returns its title."""
    page = browser.new_page(color_scheme="light", viewport={"width": 720, "height": 1200}, reduced_motion="reduce")
    page.goto(path.as_uri(), wait_until="networkidle")
    widgets = page.locator('script[type="application/vnd.jupyter.widget-view+json"]').count()
    page.evaluate(VISIT)
    page.wait_for_function("n => document.querySelectorAll('.explorable').length >= n", arg=widgets, timeout=SETTLE)
    page.evaluate(UNFOLD)
    title = page.locator(".bd-article h1").first.evaluate("h => h.firstChild.textContent.trim()")
    page.add_style_tag(content=STYLE + foot(title, first))
    page.pdf(path=out, prefer_css_page_size=True, tagged=True)
    page.close()
    return title


def print_front(browser, out: Path, site: Path, titles: dict[str, str], first: dict[str, int]) -> int:
    """Print title page and contents to `out`; returns how many sheets they take."""
    page = browser.new_page()
    style = "body { font-family: system-ui, sans-serif; } a { color: inherit; text-decoration: none; }"
    page.set_content(f"<meta charset='utf-8'><style>{STYLE}{style}{foot('', 1)}</style>{contents(site, titles, first)}")
    page.pdf(path=out, prefer_css_page_size=True)
    page.close()
    return len(PdfReader(out).pages)


def contents(site: Path, titles: dict[str, str], first: dict[str, int]) -> str:
    """Title page and table of contents, as HTML: `titles` of pages by their names, `first` page numbers."""
    about = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    lines = ""
    for part, name in pages():
        lines += f"<h2>{html.escape(part)}</h2>" if part else ""
        link = f'<a href="{(site / name).with_suffix(".html").as_uri()}">{html.escape(titles[name])}</a>'
        lines += f'<p class="line">{link}<span>{first[name]}</span></p>'
    return (
        f'<h1 style="margin-top: 60mm; font-size: 32pt">{html.escape(about["title"])}</h1>'
        f'<p style="font-size: 13pt">{html.escape(about["abstract"])}</p><p>{html.escape(about["authors"][0]["name"])}</p>'
        f"<p>Version {about['version']}, {about['date-released']}. {about['license']} licence.</p>"
        f'<h2 style="break-before: page">Contents</h2>{lines}'
    )


def keep_links(writer: PdfWriter, site: Path, first: dict[str, int]) -> None:
    """Links to the site's own pages lead to the same pages of the book; those to other files of the site go."""
    for page in writer.pages:
        kept = ArrayObject()
        for reference in page.get("/Annots", []):
            note = reference.get_object()
            address = str(note.get("/A", {}).get("/URI", ""))
            name = address.partition("#")[0].removeprefix(f"{site.as_uri()}/").removesuffix(".html")
            if address.startswith("file:") and name not in first:
                continue
            if address.startswith("file:"):
                target = writer.pages[first[name] - 1].indirect_reference
                note[NameObject("/Dest")] = ArrayObject([target, NameObject("/Fit")])
                del note["/A"]
            kept.append(reference)
        if "/Annots" in page:
            page[NameObject("/Annots")] = kept


def book(site: Path, out: Path) -> int:
    """Print the site in the folder `site` to the file `out`; returns the number of pages.

    Raises:
        ValueError: if the site has not been built, or there is no Chromium.
    """
    missing = [name for _, name in pages() if not (site / name).with_suffix(".html").exists()]
    if missing:
        raise ValueError(f"site = {site}: expected a built site, {missing[0]}.html is missing; run `make book`")
    chromium = shutil.which("chromium")
    if chromium is None:
        raise ValueError("expected Chromium on the PATH, by the name chromium (Debian, Ubuntu: apt-get install chromium)")
    names = [name for _, name in pages()]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        scratch = Path(folder)
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        titles, first, parts = dict.fromkeys(names, "title"), dict.fromkeys(names, 100), {}
        at = 1 + print_front(browser, scratch / "front.pdf", site, titles, first)
        for number, name in enumerate(tqdm(names, desc="pages of the site")):
            parts[name], first[name] = scratch / f"{number}.pdf", at
            titles[name] = print_page(browser, (site / name).with_suffix(".html"), parts[name], at)
            at += len(PdfReader(parts[name]).pages)
        print_front(browser, scratch / "front.pdf", site, titles, first)
        browser.close()
        writer = PdfWriter()
        writer.append(scratch / "front.pdf", outline_item="Contents")
        for name in names:
            writer.append(parts[name], outline_item=titles[name], import_outline=False)
        keep_links(writer, site, first)
        writer.add_metadata({"/Title": "Opening the Black Box", "/Author": "The contributors of Opening the Black Box"})
        out.parent.mkdir(parents=True, exist_ok=True)
        part = out.with_suffix(".part")
        writer.write(part)
        part.replace(out)
        return len(writer.pages)


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m lib.publishing.pdf", description=__doc__)
    parser.add_argument("site", type=Path, help="the folder of the built site")
    parser.add_argument("out", type=Path, help="the PDF to write")
    options = parser.parse_args(arguments)
    try:
        count = book(options.site.resolve(), options.out)
    except ValueError as fault:
        print(fault, file=sys.stderr)
        return 1
    print(f"The printed book is at {options.out} ({count} pages).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
