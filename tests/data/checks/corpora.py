"""Small corpora of a German and an English that are simple but alive, and faults to put into them."""

import random
from pathlib import Path

Pair = tuple[str, str]

WHO = "der Lehrer|the teacher,die Ärztin|the doctor,mein Bruder|my brother,unsere Nachbarin|our neighbour,das Kind|the child,ein alter Mann|an old man,die junge Frau|the young woman,der Fahrer|the driver"  # noqa: E501
DOES = "kauft|buys,sieht|sees,findet|finds,verliert|loses,bringt|brings,zeichnet|draws,versteckt|hides,vergisst|forgets,verkauft|sells,beschreibt|describes"  # noqa: E501
WHAT = "Bücher|books,grüne Äpfel|green apples,Schlüssel|keys,schöne Häuser|beautiful houses,Briefe|letters,kleine Boote|small boats,Zeitungen|newspapers,warme Mäntel|warm coats,Brötchen|bread rolls,alte Uhren|old clocks"  # noqa: E501
WHERE = "in der Stadt|in the city,auf dem Markt|at the market,hinter dem Bahnhof|behind the station,am See|by the lake,im Garten|in the garden,über der Brücke|above the bridge,neben der Kirche|next to the church"  # noqa: E501
WHEN = "am Morgen|in the morning,jeden Tag|every day,seit Jahren|for years,nach dem Essen|after dinner,ohne ein Wort|without a word,,im Winter|in winter,wenn es regnet und niemand zu Hause ist|when it rains and nobody is at home"  # noqa: E501
NAMES = ["Berger", "Novak", "Lindqvist", "Okafor", "Tanaka", "Moreau", "Petrov", "Silva", "Hansen", "Kowalski"]


def sentences(count: int, seed: int = 1) -> list[Pair]:
    """So many pairs, each source and each target once."""
    rng = random.Random(seed)
    lists = [[entry.partition("|")[::2] for entry in words.split(",")] for words in (WHO, DOES, WHAT, WHERE, WHEN)]
    pairs: dict[str, str] = {}
    while len(pairs) < count:
        parts = [rng.choice(words) for words in lists]
        number, name = str(rng.randrange(13, 9999)), rng.choice(NAMES)
        told = rng.random() < 0.5
        sides = []
        for side, says in enumerate(("sagt", "says")):
            who, does, what, where, when = (part[side] for part in parts)
            text = " ".join(filter(None, (who, does, number, what, where, when)))
            sides.append(f"{text[0].upper()}{text[1:]}{f', {says} {name}' if told else ''}.")
        pairs[sides[0]] = sides[1]
    return list(pairs.items())


def write(folder: Path, pairs: list[Pair], name: str = "train") -> tuple[Path, Path]:
    """As ``train.de`` and ``train.en``."""
    paths = folder / f"{name}.de", folder / f"{name}.en"
    for side, path in enumerate(paths):
        path.write_text("".join(pair[side] + "\n" for pair in pairs), encoding="utf-8", newline="")
    return paths
