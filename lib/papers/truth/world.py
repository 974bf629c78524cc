"""A small world of facts: statements about real cities, words and numbers, as text and as documents of tokens.

The templates on cities and numbers, and those of conjunctions and disjunctions, are Marks and Tegmark's (arXiv:2310.06824);
those on kinds of words, and all lists, are the chapter's own. For the toy language model every phrase is one token.
"""

import re
from dataclasses import dataclass
from random import Random

import torch

COUNTRIES = {
    "Japan": ["Kyoto", "Osaka", "Nagoya", "Sapporo", "Fukuoka", "Kobe"],
    "Brazil": ["Recife", "Fortaleza", "Curitiba", "Manaus", "Brasilia", "Belo Horizonte"],
    "Russia": ["Krasnodar", "Kazan", "Omsk", "Samara", "Volgograd", "Moscow"],
    "India": ["Mumbai", "Delhi", "Chennai", "Pune", "Jaipur", "Lucknow"],
    "Canada": ["Toronto", "Montreal", "Vancouver", "Calgary", "Ottawa", "Winnipeg"],
    "Germany": ["Berlin", "Hamburg", "Munich", "Cologne", "Dresden", "Leipzig"],
    "Egypt": ["Cairo", "Alexandria", "Giza", "Luxor", "Aswan", "Suez"],
    "China": ["Shanghai", "Beijing", "Wuhan", "Chengdu", "Harbin", "Nanjing"],
}
KINDS = {
    "bird": ["sparrow", "eagle", "owl", "heron", "robin"],
    "fish": ["salmon", "trout", "herring", "tuna", "cod"],
    "tree": ["oak", "birch", "maple", "willow", "pine"],
    "metal": ["iron", "copper", "zinc", "tin", "nickel"],
    "fruit": ["apple", "pear", "peach", "mango", "banana"],
    "tool": ["hammer", "saw", "drill", "chisel", "wrench"],
}
_TENS = dict(zip(range(5, 10), ("fifty", "sixty", "seventy", "eighty", "ninety"), strict=True))
_UNITS = ["-", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
NUMBERS = [f"{_TENS[n // 10]}-{_UNITS[n % 10]}" for n in (51, 54, 57, 61, 64, 67, 71, 74, 77, 81, 84, 87, 91, 94, 97, 99)]

CITIES = [city for cities in COUNTRIES.values() for city in cities]
WORDS = [word for words in KINDS.values() for word in words]
HOME = {name: group for table in (COUNTRIES, KINDS) for group, names in table.items() for name in names}

TYPES = ("cities", "neg_cities", "words", "neg_words", "larger", "smaller", "conj", "disj")
SIMPLE = TYPES[:6]
MIXTURE = (0.26, 0.13, 0.20, 0.10, 0.12, 0.12, 0.035, 0.035)  # shares of the types in the toy's final diet
_PHRASES = {
    "cities": ("the city of", "is in"),
    "neg_cities": ("the city of", "is not in"),
    "words": ("the word", "names a"),
    "neg_words": ("the word", "does not name a"),
    "larger": ("is larger than",),
    "smaller": ("is smaller than",),
    "conj": ("it is the case both that", "and that"),
    "disj": ("it is the case either that", "or that"),
}
PAD, BOS = "<pad>", "<bos>"
VOCABULARY = [PAD, BOS, ".", *dict.fromkeys(p for phrases in _PHRASES.values() for p in phrases)]
VOCABULARY += [name.lower() for name in (*CITIES, *COUNTRIES, *WORDS, *KINDS, *NUMBERS)]
ID = {phrase: i for i, phrase in enumerate(VOCABULARY)}
PATTERN = "|".join(re.escape(p) for p in sorted(VOCABULARY[2:], key=len, reverse=True))
SLOTS, DRAWS = 8, 7  # statements drawn for a document, uniform numbers drawn for a statement


def encode(text):
    """Token ids of `text` for the toy, `<bos>` first. Raises ValueError for a text that holds anything but known phrases."""
    found = re.findall(PATTERN, text.lower())
    if "".join(found).replace(" ", "") != text.lower().replace(" ", ""):
        raise ValueError(f"text = {text!r}: expected phrases of the toy's vocabulary")
    return [ID[BOS], *(ID[phrase] for phrase in found)]


# ---- statements as text ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Statement:
    """One statement: its text, whether it is true, and the names in it that a question should not repeat."""

    text: str
    true: bool
    names: tuple

    @property
    def word(self):
        """Index of the last letter of the last word, before full stop and quotation marks."""
        return len(self.text.rstrip(".!?'\" ")) - 1


def _fact(kind, subject, group):
    before, link = _PHRASES[kind]
    return f"{before} {subject} {link} {group}"


def _sentence(text):
    return text[0].upper() + text[1:] + "."


def _wrong(rng, subject):
    return rng.choice([g for g in (COUNTRIES if subject in CITIES else KINDS) if g != HOME[subject]])


def statements(kind, count, seed, part=None):
    """`count` statements of one type, half of them true, for a seed.

    `cities` and `neg_cities` (and `words`, `neg_words`; `larger`, `smaller`) state the same facts for the same seed, row by
    row, so that each row and its opposite make a contrast pair. Conjunctions are true, and disjunctions false, half the
    time, their halves otherwise as in the paper (independent, each true with probability √½, or 1 − √½).

    Args:
        kind: one of `TYPES`.
        count: an even number.
        seed: of the choice.
        part: 0 or 1 for statements about disjoint halves of the cities, words or pairs of numbers; None for all.

    Returns:
        A list of `Statement`.
    """
    rng, rows = Random(f"{kind.removeprefix('neg_').replace('smaller', 'larger')} {seed} {part}"), []
    for i in range(count):
        right = i % 2 == 0  # of the fact without a negation
        if kind in ("larger", "smaller"):
            low, high = sorted(rng.sample(range(len(NUMBERS)), 2))
            while part is not None and (low + high) % 2 != part:
                low, high = sorted(rng.sample(range(len(NUMBERS)), 2))
            a, b = (NUMBERS[high], NUMBERS[low]) if right else (NUMBERS[low], NUMBERS[high])
            rows.append(Statement(_sentence(f"{a} {_PHRASES[kind][0]} {b}"), right == (kind == "larger"), (a, b)))
        elif kind in ("conj", "disj"):
            pattern = rng.choices([(True, False), (False, True), (False, False)], [2**0.5 - 1, 2**0.5 - 1, 3 - 8**0.5])[0]
            halves = (True, True) if right else pattern
            halves = halves if kind == "conj" else tuple(not h for h in halves)
            names = rng.sample(CITIES[part::2] if part is not None else CITIES, 2)
            groups = [HOME[n] if h else _wrong(rng, n) for n, h in zip(names, halves, strict=True)]
            first, second = (_fact("cities", n, g) for n, g in zip(names, groups, strict=True))
            text = f"{_PHRASES[kind][0]} {first} {_PHRASES[kind][1]} {second}"
            rows.append(Statement(_sentence(text), all(halves) if kind == "conj" else any(halves), (*names, *groups)))
        else:
            pool = CITIES if kind.endswith("cities") else WORDS
            subject = rng.choice(pool[part::2] if part is not None else pool)
            group = HOME[subject] if right else _wrong(rng, subject)
            text = _sentence(_fact(kind, subject, group))
            rows.append(Statement(text, right != kind.startswith("neg_"), (subject, group)))
    return rows


def swaps(kind, count, seed):
    """Pairs (true, false) of statements that differ in the city alone; `kind` is cities or neg_cities."""
    rng, pairs = Random(f"swap {kind} {seed}"), []
    for _ in range(count):
        group = rng.choice(list(COUNTRIES))
        inside, outside = rng.choice(COUNTRIES[group]), rng.choice([c for c in CITIES if HOME[c] != group])
        cities = (inside, outside) if kind == "cities" else (outside, inside)
        texts = [_sentence(_fact(kind, city, group)) for city in cities]
        pairs.append(
            tuple(Statement(t, true, (inside, outside, group)) for t, true in zip(texts, (True, False), strict=True))
        )
    return pairs


@dataclass(frozen=True)
class Question:
    """A prompt that ends before its answer.

    Attributes:
        context: a statement that stands in the prompt.
        prompt: the text.
        answer: what a model that trusts the context goes on to say.
        against: what it is weighed against; None where the answer's own probability is read.
    """

    context: Statement
    prompt: str
    answer: str
    against: str | None = None


def ask(contexts, seed):
    """A `Question` for each context: "<context> The city of C is in", about a city and country not in the context."""
    rng, questions = Random(f"ask {seed}"), []
    for context in contexts:
        city = rng.choice([c for c in CITIES if c not in context.names and HOME[c] not in context.names])
        questions.append(Question(context, f"{context.text} The city of {city} is in", HOME[city]))
    return questions


# ---- documents as tokens -----------------------------------------------------------------------------------------------


def _ids(names, device):
    return torch.tensor([ID[name.lower()] for name in names], device=device)


def _clauses(subjects, groups, right, a, b):
    """Subject and object tokens of facts, right or wrong as `right` says, from uniform numbers `a`, `b`; any shape."""
    names, home = list(subjects), torch.tensor([list(groups).index(HOME[s]) for s in subjects], device=a.device)
    subject = (a * len(names)).long()
    group = (home[subject] + (~right) * (1 + (b * (len(groups) - 1)).long())) % len(groups)
    return _ids(names, a.device)[subject], _ids(groups, a.device)[group]


def _rows(*columns):
    """Tokens given as ids or as tensors, as rows of 11, padded."""
    shape = next(c.shape for c in columns if isinstance(c, torch.Tensor))
    device = next(c.device for c in columns if isinstance(c, torch.Tensor))
    columns = [c if isinstance(c, torch.Tensor) else torch.full(shape, ID[c], device=device) for c in columns]
    return torch.stack([*columns, *[torch.zeros_like(columns[0])] * (11 - len(columns))], -1)


def documents(chances, draws, length):
    """Documents of statements that are all true, half the time, or all false. Nothing marks which is which.

    Args:
        chances: shares of the eight `TYPES`, (members, 8), float.
        draws: uniform numbers in [0, 1), (members, documents, 1 + SLOTS, DRAWS); the first row decides on the document.
        length: tokens in a document; the last statement is cut there.

    Returns:
        Token ids (members, documents, length), int64, `<bos>` first.
    """
    truth, kind, a, b, c, d, e = draws[:, :, 1:].unbind(-1)
    truth = (draws[:, :, :1, 0] < 0.5).expand_as(truth)
    edges = chances.cumsum(-1)
    edges = (edges / edges[:, -1:]).contiguous()
    kind = torch.searchsorted(edges, kind.flatten(1), right=True).view(kind.shape).clamp(max=7)

    negated = (kind == 1) | (kind == 3)
    city, country = _clauses(CITIES, COUNTRIES, truth ^ negated, a, b)
    word, group = _clauses(WORDS, KINDS, truth ^ negated, a, b)
    numbers = _ids(NUMBERS, a.device)
    first = (a * len(numbers)).long()
    second = (first + 1 + (b * (len(numbers) - 1)).long()) % len(numbers)
    swap = (first > second) != (truth ^ (kind == 5))
    first, second = torch.where(swap, second, first), torch.where(swap, first, second)
    both = kind == 6
    left, right = (e < 2**0.5 - 1), (e >= 2**0.5 - 1) & (e < 2 * (2**0.5 - 1))
    left, right = (torch.where(both, truth | h, ~(~truth | h)) for h in (left, right))
    city1, country1 = _clauses(CITIES, COUNTRIES, left, a, b)
    city2, country2 = _clauses(CITIES, COUNTRIES, right, c, d)

    tokens = torch.stack(
        [
            _rows("the city of", city, "is in", country, "."),
            _rows("the city of", city, "is not in", country, "."),
            _rows("the word", word, "names a", group, "."),
            _rows("the word", word, "does not name a", group, "."),
            _rows(numbers[first], "is larger than", numbers[second], "."),
            _rows(numbers[first], "is smaller than", numbers[second], "."),
            *(
                _rows(f"it is the case {x} that", "the city of", city1, "is in", country1,
                      f"{y} that", "the city of", city2, "is in", country2, ".")
                for x, y in (("both", "and"), ("either", "or"))
            ),
        ],
        -2,
    )  # fmt: skip
    tokens = tokens.gather(-2, kind[..., None, None].expand(*kind.shape, 1, 11)).squeeze(-2)
    used = tokens != ID[PAD]
    place = (used.flatten(2).cumsum(-1) * used.flatten(2)).clamp(max=length)
    out = torch.full((*tokens.shape[:2], length + 1), ID[PAD], device=tokens.device)
    out.scatter_(2, torch.where(used.flatten(2), place, length), tokens.flatten(2))
    out[:, :, 0] = ID[BOS]
    return out[:, :, :length]
