"""Verdicts as they are shown, and as they are read out of executed notebooks."""

import functools
import html
import json
from pathlib import Path

from .ledger import recorded

MIME = "application/vnd.claims+json"
HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
UNMET, UNJUDGED = "conditions not met", "not judged at this scale"
SIGNS = {HOLDS: "✓", FAILS: "✗", UNDECIDED: "≈", UNMET: "○", UNJUDGED: "–"}
COLUMNS = (
    "id", "says", "origin", "source", "paper", "here", "values", "low", "high", "units", "condition", "premise", "share",
    "verdict", "scale", "seed",
)  # fmt: skip

# ---- what the eye sees ---------------------------------------------------------------------------------------------------


def anchor(identity: str) -> str:
    """The page's anchor of a claim, by its id."""
    return f"claim-{identity.replace('/', '-')}"


def plain(row: dict) -> str:
    """A claim's verdict as a line of text."""
    return f"{SIGNS[row['verdict']]} {row['verdict']}: {row['says']} [{row['here']}]"


def _sign(row):
    return f'<span class="sign">{SIGNS[row["verdict"]]}</span> <strong>{row["verdict"]}</strong>'


def seeds(identity: str) -> str:
    """The ledger's verdicts of a claim at seeds 0 to 4, as HTML; empty if it is not there."""
    found = recorded(identity)
    if not found:
        return ""
    words = "; ".join(f"seed {seed}: {entry['verdict']}" for seed, entry in sorted(found.items()))
    signs = "".join(SIGNS[entry["verdict"]] for _, entry in sorted(found.items()))
    return f'<span class="seeds" title="{words}" role="img" aria-label="{words}">{signs}</span>'


def origin(row: dict) -> str:
    """Whose a claim is and where it stands, as HTML."""
    whose = {"paper": "the paper", "implied": "implied by the paper", "ours": "ours"}[row["origin"]]
    return html.escape(whose + (f", {row['source']}" if row["origin"] != "ours" else ""))


def line(row: dict) -> str:
    """A claim's verdict as HTML: one line for the eye, the grounds in a fold."""
    text = {key: html.escape(str(value)) for key, value in row.items()}
    at, signs = anchor(row["id"]), seeds(row["id"])
    sure = f"the condition is true in {row['share']:.1%} of the resamples ({text['units']})"
    pairs = [
        ("who says so", origin(row)),
        ("the paper gives", text["paper"] if row["paper"] != "–" else ""),
        ("holds if", f"<code>{text['condition']}</code>"),
        ("provided that", text["premise"]),
        ("how sure", "nothing in it is random" if row["units"] == "not random" else sure),
        ("at seeds 0 to 4", signs),
    ]
    grounds = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in pairs if value)
    link = f'<a class="headerlink" href="#{at}" aria-label="Link to this claim">#</a>'
    return (
        f'<div class="verdict" id="{at}" data-verdict="{row["verdict"]}">'
        f'<p>{_sign(row)} <span class="says">{text["says"]}</span> '
        f'<span class="here">{text["here"]}</span> {signs}{link}</p>'
        f"<details><summary>How this was judged</summary><dl>{grounds}</dl></details></div>"
    )


def table(rows: list[dict]) -> str:
    """`rows` of claims as an HTML table that a screen reader can read; verdicts differ by word and sign."""
    heads = ("verdict", "claim", "the paper", "this build")
    lines = ['<div class="claims"><table>', "<caption>Claims and their verdicts</caption>", "<thead><tr>"]
    lines += [f'<th scope="col">{head}</th>' for head in heads] + ["</tr></thead>", "<tbody>"]
    for row in rows:
        text = {key: html.escape(str(value)) for key, value in row.items()}
        lines.append(
            f'<tr><th scope="row"><a href="#{anchor(row["id"])}">{_sign(row)}</a> {seeds(row["id"])}</th>'
            f'<td data-head="claim">{text["says"]} <small>({origin(row)})</small></td>'
            f'<td data-head="the paper">{text["paper"]}</td><td data-head="this build">{text["here"]}</td></tr>'
        )
    return "\n".join([*lines, "</tbody></table></div>"])


# ---- what machines read --------------------------------------------------------------------------------------------------


@functools.lru_cache(32)
def _read(path, modified):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return [row for output in outputs for row in output.get("data", {}).get(MIME, [])]


def read(notebook: str | Path) -> list[dict]:
    """The claims in an executed notebook (path to an .ipynb): a list of dicts with the keys of `COLUMNS`."""
    path = Path(notebook)
    return _read(path, path.stat().st_mtime_ns)
