"""The papers of the book, read from `book/references.bib`."""

from dataclasses import dataclass
from pathlib import Path

from pybtex.database import parse_file
from pybtex.richtext import Text

ROOT = Path(__file__).parents[2]
REFERENCES = ROOT / "book/references.bib"


@dataclass(frozen=True)
class Reference:
    """One entry of the bibliography: full names of its authors, title, year, and links as pairs (text, address)."""

    authors: tuple[str, ...]
    title: str
    year: str
    links: tuple[tuple[str, str], ...]

    @property
    def names(self) -> str:
        """The authors: all of up to four, else the first and how many more there are."""
        if len(self.authors) > 4:
            return f"{self.authors[0]} and {len(self.authors) - 1} others"
        return " and ".join(part for part in (", ".join(self.authors[:-1]), self.authors[-1]) if part)


def _name(person):
    """A person of pybtex as text, LaTeX's accents resolved."""
    parts = person.first_names + person.middle_names + person.prelast_names + person.last_names
    return str(Text.from_latex(" ".join(parts)))


def references() -> dict[str, Reference]:
    """Every entry of the bibliography by its key."""
    found = {}
    for key, entry in parse_file(REFERENCES).entries.items():
        fields, links = entry.fields, []
        if "eprint" in fields:
            links.append((f"arXiv:{fields['eprint']}", f"https://arxiv.org/abs/{fields['eprint']}"))
        if "doi" in fields:
            links.append((f"doi:{fields['doi']}", f"https://doi.org/{fields['doi']}"))
        if "url" in fields:
            links.append((fields["url"].removeprefix("https://"), fields["url"]))
        authors = tuple(_name(person) for person in entry.persons.get("author", []))
        found[key] = Reference(authors, str(Text.from_latex(fields["title"])), fields["year"], tuple(links))
    return found
