"""Facts that people know, and statements about them: the paper's kinds of data, written anew for this book.

The templates and the ways to make false statements, negations, conjunctions and disjunctions are those of Marks and Tegmark
(arXiv:2310.06824, section 2 and appendix); the lists are the book's own. `read_csv` reads other people's statements.
"""

import csv
from pathlib import Path
from random import Random

from .world import Question, Statement

CITIES = {
    "China": "Shanghai, Beijing, Wuhan, Chengdu, Harbin, Nanjing, Guangzhou, Shenzhen, Tianjin, Chongqing",
    "India": "Mumbai, Delhi, Chennai, Pune, Jaipur, Lucknow, Kolkata, Bangalore, Ahmedabad",
    "Japan": "Tokyo, Kyoto, Osaka, Nagoya, Sapporo, Fukuoka, Kobe, Hiroshima, Yokohama, Nagasaki",
    "Russia": "Moscow, Kazan, Omsk, Samara, Volgograd, Novosibirsk, Vladivostok, Krasnodar",
    "Brazil": "Recife, Fortaleza, Curitiba, Manaus, Belo Horizonte, Porto Alegre, Rio de Janeiro",
    "Germany": "Berlin, Hamburg, Munich, Cologne, Dresden, Leipzig, Frankfurt, Stuttgart",
    "France": "Paris, Lyon, Marseille, Toulouse, Bordeaux, Strasbourg, Nantes",
    "Italy": "Rome, Milan, Naples, Turin, Florence, Venice, Bologna, Palermo",
    "Spain": "Madrid, Barcelona, Seville, Bilbao, Zaragoza",
    "Canada": "Toronto, Montreal, Vancouver, Calgary, Ottawa, Winnipeg, Edmonton",
    "Egypt": "Cairo, Giza, Luxor, Aswan",
    "Turkey": "Istanbul, Ankara, Izmir, Bursa, Antalya",
    "Australia": "Sydney, Melbourne, Brisbane, Adelaide, Canberra",
    "Mexico": "Guadalajara, Monterrey, Tijuana, Cancun",
    "Poland": "Warsaw, Krakow, Gdansk, Wroclaw",
    "Ukraine": "Kyiv, Kharkiv, Lviv",
    "Pakistan": "Karachi, Lahore, Islamabad, Peshawar",
    "Nigeria": "Lagos, Abuja, Ibadan",
    "Indonesia": "Jakarta, Surabaya, Bandung",
    "Iran": "Tehran, Isfahan, Shiraz, Tabriz",
    "Iraq": "Baghdad, Mosul, Basra",
    "Argentina": "Buenos Aires, Rosario, Mendoza",
    "the Netherlands": "Amsterdam, Rotterdam, Utrecht",
    "Morocco": "Casablanca, Marrakesh, Rabat",
    "Sweden": "Stockholm, Gothenburg, Malmo",
    "Norway": "Oslo, Bergen, Trondheim",
    "Switzerland": "Zurich, Geneva, Basel",
    "Austria": "Vienna, Salzburg, Graz",
    "Vietnam": "Hanoi, Da Nang",
    "Colombia": "Bogota, Medellin",
    "Peru": "Lima, Cusco",
    "Kenya": "Nairobi, Mombasa",
    "Greece": "Athens, Thessaloniki",
    "Portugal": "Lisbon, Porto",
    "South Africa": "Johannesburg, Durban, Cape Town",
    "Thailand": "Bangkok",
    "Finland": "Helsinki",
    "Denmark": "Copenhagen",
    "Hungary": "Budapest",
    "Cuba": "Havana",
    "Ireland": "Dublin",
}
WORDS = (
    "casa house, perro dog, gato cat, agua water, fuego fire, mesa table, silla chair, libro book, noche night, "
    "mano hand, pie foot, ojo eye, boca mouth, cabeza head, sangre blood, hueso bone, leche milk, pan bread, queso "
    "cheese, huevo egg, carne meat, pescado fish, manzana apple, naranja orange, uva grape, sal salt, cuchillo "
    "knife, tenedor fork, vaso glass, puerta door, ventana window, pared wall, techo roof, suelo floor, calle "
    "street, puente bridge, ciudad city, pueblo town, campo field, bosque forest, árbol tree, hoja leaf, flor "
    "flower, hierba grass, piedra stone, arena sand, mar sea, isla island, lago lake, cielo sky, sol sun, luna "
    "moon, estrella star, lluvia rain, nieve snow, viento wind, hielo ice, hombre man, mujer woman, hijo son, hija "
    "daughter, hermano brother, hermana sister, padre father, madre mother, amigo friend, rey king, reina queen, "
    "abuela grandmother, caballo horse, vaca cow, oveja sheep, cerdo pig, gallina hen, lobo wolf, oso bear, zorro "
    "fox, araña spider, mosca fly, abeja bee, rana frog, tortuga turtle, camisa shirt, zapato shoe, sombrero hat, "
    "falda skirt, anillo ring, llave key, reloj clock, espejo mirror, cama bed, barco ship, avión plane, coche car, "
    "rueda wheel, martillo hammer, dinero money, guerra war, paz peace, miedo fear, verdad truth, mentira lie, "
    "sueño dream, rojo red, verde green, azul blue, blanco white, negro black, amarillo yellow, lunes Monday, "
    "viernes Friday, enero January, verano summer, invierno winter, primavera spring, dulce sweet, viejo old, nuevo "
    "new"
)
_TENS = ("fifty", "sixty", "seventy", "eighty", "ninety")
_UNITS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

HOME = {city: country for country, cities in CITIES.items() for city in cities.split(", ")}
MEANING = dict(pair.split(" ") for pair in WORDS.split(", "))
NUMBERS = [f"{tens}-{units}" for tens in _TENS for units in _UNITS]  # ascending; the paper's 45, without multiples of ten

TEMPLATES = {
    "cities": "the city of {} is in {}",
    "neg_cities": "the city of {} is not in {}",
    "translations": "the Spanish word '{}' means '{}'",
    "neg_translations": "the Spanish word '{}' does not mean '{}'",
    "larger": "{} is larger than {}",
    "smaller": "{} is smaller than {}",
}
SIMPLE = tuple(TEMPLATES)
TYPES = (*SIMPLE, "conj", "disj")
HALVES = {"conj": ("it is the case both that", "and that"), "disj": ("it is the case either that", "or that")}


def _sentence(text):
    return text[0].upper() + text[1:] + "."


def _subjects(kind, seed, part, rng):
    """What the statements of a type are about, in random order: the cities, words or pairs (larger, smaller) of one half."""
    if kind in ("larger", "smaller"):
        found = [(NUMBERS[j], NUMBERS[i]) for j in range(len(NUMBERS)) for i in range(j) if (i + j) % 2 == part]
    else:
        found = list(MEANING if "translations" in kind else HOME)
        Random(f"halves {seed}").shuffle(found)
        found = found[part::2]
    rng.shuffle(found)
    return found


def statements(kind, count, seed, part):
    """`count` statements of one type about one half of the facts, in pairs: a true fact, then a false one on the same.

    `cities` and `neg_cities` (and `translations`, `neg_translations`; `larger`, `smaller`) state the same facts for the same
    seed, row by row, so that each row and its opposite make a contrast pair. A false country or word is that of another fact
    of the same half, so each is as frequent in false statements as in true ones. Halves of conjunctions and
    disjunctions are as in the paper: independent, each true with probability √½, or 1 − √½, given the whole's truth.

    Args:
        kind: one of `TYPES`.
        count: an even number.
        seed: of the halves, the choice of facts and the falsehoods.
        part: 0 or 1, the half of the cities, words or pairs of numbers.

    Returns:
        A list of `Statement`: rows 2i and 2i + 1 are about the same fact; without a negation the first of them is true.

    Raises:
        ValueError: if `count` is odd or there are too few facts.
    """
    subject = kind.removeprefix("neg_").replace("smaller", "larger")
    rng = Random(f"{subject} {seed} {part}")
    pool = _subjects(kind, seed, part, rng)
    if count % 2 or not 2 <= count <= 2 * len(pool):
        raise ValueError(f"count = {count}: expected an even number from 2 to {2 * len(pool)}, two for each fact of a half")
    if kind in HALVES:
        return [_compound(kind, i % 2 == 0, pool, rng) for i in range(count)]
    right = HOME if subject == "cities" else MEANING
    rows = []
    for one in pool[: count // 2]:
        if subject == "larger":
            pairs = [one, one[::-1]]
        else:
            pairs = [(one, right[one]), (one, rng.choice([right[x] for x in pool if right[x] != right[one]]))]
        for pair, fact in zip(pairs, (True, False), strict=True):
            true = fact != (kind.startswith("neg_") or kind == "smaller")
            rows.append(Statement(_sentence(TEMPLATES[kind].format(*pair)), true, pair))
    return rows


def _compound(kind, whole, pool, rng):
    """A conjunction or disjunction of two statements about cities that is true or false as `whole` says."""
    odd = rng.choices([(True, False), (False, True), (False, False)], [2**0.5 - 1, 2**0.5 - 1, 3 - 8**0.5])[0]
    halves = (True, True) if whole == (kind == "conj") else odd
    halves = halves if kind == "conj" else tuple(not h for h in halves)
    cities = rng.sample(pool, 2)
    countries = [HOME[c] if h else rng.choice([HOME[x] for x in pool if HOME[x] != HOME[c]])
                 for c, h in zip(cities, halves, strict=True)]  # fmt: skip
    first, second = (TEMPLATES["cities"].format(*pair) for pair in zip(cities, countries, strict=True))
    text = f"{HALVES[kind][0]} {first} {HALVES[kind][1]} {second}"
    return Statement(_sentence(text), whole, (*cities, *countries))


def swaps(seed, part):
    """Pairs (true, false) of statements that differ in the city alone, from the cities of one half."""
    rng = Random(f"swaps {seed} {part}")
    pool, pairs = _subjects("cities", seed, part, rng), []
    for country in dict.fromkeys(HOME[c] for c in pool):
        for city in (c for c in pool if HOME[c] == country):
            for outsider in rng.sample([c for c in pool if HOME[c] != country], 12):
                texts = [_sentence(TEMPLATES["cities"].format(c, country)) for c in (city, outsider)]
                pairs.append(
                    tuple(Statement(t, c == city, (c, country)) for t, c in zip(texts, (city, outsider), strict=True))
                )
    rng.shuffle(pairs)
    return pairs


def check_even(**counts: int) -> None:
    """Raise unless these numbers of statements are even, as half of the statements are true.

    Raises:
        ValueError: with the parameter's name and value.
    """
    for name, count in counts.items():
        if count % 2:
            raise ValueError(f"{name} = {count}: expected an even number")


def read_csv(path):
    """Statements in somebody's file with columns `statement` and `label` (1 or 0), as the authors' twelve files have.

    Raises:
        ValueError: naming the file, the line and what was expected.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as reason:
        raise ValueError(f"path = {str(path)!r}: expected a readable CSV file ({reason})") from None
    if not rows or not {"statement", "label"} <= set(rows[0]):
        raise ValueError(f"path = {str(path)!r}: expected columns statement and label, and at least one row")
    labels = {"1": True, "0": False, "true": True, "false": False, "1.0": True, "0.0": False}
    found = []
    for line, row in enumerate(rows, 2):
        text, label = (row["statement"] or "").strip(), (row["label"] or "").strip().lower()
        if not text or label not in labels:
            raise ValueError(
                f"path = {str(path)!r}: expected a statement and the label 0 or 1 in line {line}, not {label!r}"
            )
        found.append(Statement(text, labels[label], ()))
    if len({s.true for s in found}) < 2:
        raise ValueError(f"path = {str(path)!r}: expected true and false statements")
    return found


def read_folder(folder):
    """Every CSV file of a folder, by its name: {name: statements}; an empty name is no folder.

    Raises:
        ValueError: if it is missing, holds no CSV file, or one of them is bad.
    """
    if not folder:
        return {}
    files = sorted(Path(folder).expanduser().glob("*.csv"))
    if not files:
        raise ValueError(f"data = {folder!r}: expected a folder with CSV files of the columns statement and label")
    return {file.stem: read_csv(file) for file in files}


# ---- asking a model ------------------------------------------------------------------------------------------------------

INFORMATION = ("{} This information is", "accurate", "inaccurate")
FEW_SHOT = (
    "The city of Accra is in Ghana. This statement is: TRUE\nThe city of Dakar is in Nepal. This statement is: FALSE\n"
    "{} This statement is:", "TRUE", "FALSE",
)  # fmt: skip


def verdicts(rows, readout=INFORMATION):
    """A `Question` for each statement: does the model go on to call it true or false? `readout`: prompt, yes, no."""
    prompt, yes, no = readout
    return [Question(s, prompt.format(s.text), yes, no) for s in rows]


def cloze(rows):
    """A `Question` for each pair of rows of `statements`: the end of the true fact, or that of the false one?"""
    return [
        Question(Statement(prompt, True, ()), prompt, true.names[1], false.names[1])
        for true, false in zip(rows[::2], rows[1::2], strict=True)
        for prompt in (true.text.rpartition(true.names[1])[0].strip(" '"),)
    ]
