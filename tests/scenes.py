"""A live scene on a page of its own, to look at: `python tests/scenes.py lottery` says where the page is.

Its data and settings are those of the chapter, if it has been executed (`make notebooks CHAPTERS=lottery SCALE=smoke`).
"""

import json
import os
import sys
from pathlib import Path

from ipywidgets.embed import embed_data

from lib.reading.live import live, module

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "_build/scenes"
PAGE = """<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8"><title>{slug}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<script defer src="{static}/book.js"></script>
<link rel="icon" href="{static}/favicon.svg"><link rel="stylesheet" href="{static}/book.css">
<script type="application/vnd.jupyter.widget-state+json">{state}</script>
<body style="max-width: 50rem; margin: 1rem auto; font-family: system-ui"><main><h1>{slug}</h1>
<script type="application/vnd.jupyter.widget-view+json">{view}</script>
<div style="height: 150vh">What follows.</div></main></body></html>"""


def models(slug: str) -> tuple[dict, str]:
    """The state of the page's widgets, and the scene's model, as the executed chapter has them; else made here."""
    notebook = ROOT / f"_build/smoke/{slug}.ipynb"
    stored = json.loads(notebook.read_text())["metadata"].get("widgets", {}) if notebook.exists() else {}
    for state in stored.values():
        for name, model in state["state"].items():
            if model["state"].get("slug") == slug:
                return state, name
    data = embed_data(views=[live(slug)], drop_defaults=False)
    return data["manager_state"], data["view_specs"][0]["model_id"]


def page(slug: str) -> Path:
    """Writes FOLDER/<slug>.html, with the module as it is now."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    state, name = models(slug)
    state["state"][name]["state"]["_esm"] = module(slug)
    view = {"version_major": 2, "version_minor": 0, "model_id": name}
    path = FOLDER / f"{slug}.html"
    static = os.path.relpath(ROOT / "book/_static", FOLDER)
    text = json.dumps(state).replace("</", "<\\/")
    path.write_text(PAGE.format(slug=slug, static=static, state=text, view=json.dumps(view)))
    return path


if __name__ == "__main__":
    for slug in sys.argv[1:]:
        print(page(slug))
