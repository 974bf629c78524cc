"""Claims and their verdicts. The executed notebook is the only record: the verdict table carries them inside it.

A claim states what the paper says, what this build measured and a predicate on the measurement, which is a Python
expression: the very text that is printed is the one that is evaluated. `python -m lib.reading NOTEBOOK…` prints all
verdicts and fails if one came out "does not hold" that its chapter does not declare as a finding.
"""

import html
import json
from pathlib import Path

MIME = "application/vnd.claims+json"
HOLDS, FAILS, UNJUDGED = "holds", "does not hold", "not judged at this scale"
SIGNS = {HOLDS: "✓", FAILS: "✗", UNJUDGED: "–"}
COLUMNS = ("id", "says", "source", "paper", "here", "spread", "predicate", "verdict", "scale")
_FUNCTIONS = {"__builtins__": {}, "abs": abs, "all": all, "any": any, "max": max, "min": min, "sum": sum, "len": len}


class Claims:
    """The claims of one chapter, in the order they are measured; the last expression of the verdict cell shows them."""

    def __init__(self, chapter, scale):
        """`chapter` is the slug; `scale` is smoke, book or paper: at smoke scale nothing is judged."""
        self.chapter, self.scale, self.rows = chapter, scale, []

    def add(self, name, says, *, source, paper, here, predicate, spread="", finding="", **values):
        """Record a claim and judge it.

        Args:
            name: short name; the claim's id is `chapter/name`.
            says: the claim, in a sentence.
            source: where in the paper ("abstract", "Fig. 2"), or "ours" for what the paper does not say.
            paper: the paper's value, as text ("–" if it gives none).
            here: what this build measured, as text.
            predicate: a Python expression on `values`, decided before measuring: "0.9 <= alpha <= 1.35".
            spread: the measurement's spread, as text with its meaning ("95 % over 16 seeds: 1.02 to 1.11").
            finding: if this claim is known not to hold, or to hang in the balance, why the book keeps it: one sentence.
            values: the numbers the predicate names.

        Raises:
            ValueError: if the name is taken or the predicate cannot be evaluated on the values.
        """
        identity = f"{self.chapter}/{name}"
        if any(row["id"] == identity for row in self.rows):
            raise ValueError(f"name = {name!r}: expected a name that no other claim of {self.chapter} has")
        try:
            true = bool(eval(predicate, _FUNCTIONS | values))  # the chapter's own text, never a user's
        except Exception as error:
            raise ValueError(f"predicate = {predicate!r}: expected an expression on {sorted(values)} ({error})") from error
        verdict = UNJUDGED if self.scale == "smoke" else HOLDS if true else FAILS
        row = (identity, says, source, paper, here, spread, predicate, verdict, self.scale)
        self.rows.append(dict(zip(COLUMNS, row, strict=True)) | {"finding": finding})

    def __getitem__(self, name):
        """The record of one claim, by its short name, for the prose beside a figure."""
        return next(row for row in self.rows if row["id"] == f"{self.chapter}/{name}")

    def _repr_mimebundle_(self, **kwargs):
        plain = "\n".join(f"{SIGNS[r['verdict']]} {r['verdict']}: {r['says']} [{r['here']}]" for r in self.rows)
        return {"text/html": table(self.rows), MIME: self.rows, "text/plain": plain}


def table(rows):
    """`rows` of claims as an HTML table (text) that a screen reader can read; verdicts differ by word and sign."""
    heads = ("verdict", "claim", "paper", "this build", "holds if")
    lines = ['<div class="claims"><table>', "<caption>Claims and their verdicts</caption>", "<thead><tr>"]
    lines += [f'<th scope="col">{head}</th>' for head in heads] + ["</tr></thead>", "<tbody>"]
    for row in rows:
        text = {key: html.escape(str(value)) for key, value in row.items()}
        word = f"{SIGNS[row['verdict']]} {text['verdict']}"
        note = f"<br><em>Finding: {text['finding']}</em>" if row["finding"] and row["verdict"] == FAILS else ""
        lines.append(
            f'<tr id="claim-{text["id"].replace("/", "-")}"><th scope="row">{word}</th>'
            f"<td>{text['says']} <small>({text['source']})</small>{note}</td><td>{text['paper']}</td>"
            f"<td>{text['here']}<br><small>{text['spread']}</small></td><td><code>{text['predicate']}</code></td></tr>"
        )
    return "\n".join([*lines, "</tbody></table></div>"])


def read(notebook):
    """The claims in an executed notebook (path to an .ipynb): a list of dicts with the keys of `COLUMNS`."""
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return [row for output in outputs for row in output.get("data", {}).get(MIME, [])]


def frame(notebooks):
    """The claims of several executed notebooks as one `pandas.DataFrame`, one row a claim, with the notebook's path."""
    import pandas

    rows = [row | {"notebook": str(path)} for path in notebooks for row in read(path)]
    return pandas.DataFrame(rows, columns=[*COLUMNS, "finding", "notebook"])
