"""Queries over the generated catalogue, and their grades by the traits of its products."""

import random
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from evals.cases import Case
from fleet.tools.generated_catalogue import FOREIGN, KINDS, GeneratedProduct, Traits

Rule = Callable[[Traits], int]
Asked = tuple[str, Rule]
"""The text of a query, and the rule that grades a product for it."""

PRODUCTS = 2_000
EACH = 14
"""Queries of each kind."""

BEST = 3
_ATTEMPTS = 500
_LETTERS = "abcdefghijklmnoprstuvwy"
_UNCOMMON = ("zeppelin", "quixotic", "gramophone", "holographic", "steampunk", "submarine")
_GARBAGE = (
    "qwxzvk", "zzzzzz", "asdfghjkl", "xkcd-9", "!!!", ".*", "%s{}", "☃☃☃", "ωχψωχψ", "щщщщ", "龘龘",
    "' 1=1 --", "zeppelin", "\u200b\u0301",
)  # fmt: skip
_LANGUAGES = {
    "de": "German", "fr": "French", "es": "Spanish", "el": "Greek", "ru": "Cyrillic",
    "ja": "Japanese",
}  # fmt: skip


def all_of(*rules: Rule) -> Rule:
    """A product is as good as the trait that fits worst."""
    return lambda traits: min(rule(traits) for rule in rules)


def best_of(*rules: Rule) -> Rule:
    return lambda traits: max(rule(traits) for rule in rules)


def noun(wanted: str) -> Rule:
    """Accessories of the wanted things are related."""
    return lambda traits: 3 if traits.noun == wanted else int(traits.fits == wanted)


def family(wanted: str) -> Rule:
    """Things with the word elsewhere in their noun are acceptable: a board game for "board"."""

    def grade(traits: Traits) -> int:
        if traits.family == wanted:
            return BEST
        if traits.fits:
            return int(traits.fits.endswith(f" {wanted}"))
        return 2 * (wanted in traits.noun.split())

    return grade


def noun_or_family(wanted: str) -> Rule:
    return best_of(noun(wanted), family(wanted))


def noun_begins(typed: str) -> Rule:
    """The noun, its last word, or that of the things that it fits, begin with what was typed."""

    def grade(traits: Traits) -> int:
        if any(part.startswith(typed) for part in (traits.noun, traits.family)):
            return 3
        return int(bool(traits.fits) and traits.fits.startswith(typed))

    return grade


def material(wanted: str) -> Rule:
    """A thing with a part of that material is related."""
    return lambda traits: 3 if traits.material == wanted else int(traits.accent == wanted)


def colour(wanted: str) -> Rule:
    return lambda traits: 3 * (traits.colour == wanted)


def brand(wanted: str) -> Rule:
    return lambda traits: 3 * (traits.brand == wanted)


def feature(wanted: str) -> Rule:
    return lambda traits: 3 * (traits.feature == wanted)


def use(wanted: str) -> Rule:
    return lambda traits: 3 * (wanted in (*traits.uses, *traits.noun.split(), traits.material))


def category(wanted: str) -> Rule:
    """Things of other categories for the same use are acceptable."""

    def grade(traits: Traits) -> int:
        if wanted in traits.category.lower():
            return 3
        return 2 * (wanted in (*traits.uses, *traits.noun.split()))

    return grade


def rather(best: Rule, else_related: Rule) -> Rule:
    """Products that fit only the second rule are related."""
    return lambda traits: best(traits) or int(else_related(traits) > 0)


def misspelt(word: str, errors: int, chance: random.Random) -> str:
    """Insert, remove, replace or swap letters; the first letter stays."""
    for _ in range(errors):
        place = chance.randrange(1, len(word) - 1)
        before, letter, after = word[:place], word[place], word[place + 1 :]
        match chance.randrange(4):
            case 0:
                word = before + chance.choice(_LETTERS) + letter + after
            case 1:
                word = before + after
            case 2:
                word = before + chance.choice(_LETTERS.replace(letter, "")) + after
            case _:
                word = before + after[0] + letter + after[1:]
    return word


def plural(text: str) -> str:
    if text.endswith(("s", "shelf", "knife")):
        return text if text.endswith("s") else f"{text.removesuffix('fe').removesuffix('f')}ves"
    return f"{text}es" if text.endswith(("x", "ch", "sh")) else f"{text}s"


def bare(text: str) -> str:
    """Remove accents."""
    return "".join(one for one in unicodedata.normalize("NFD", text) if ord(one) not in _ACCENTS)


_ACCENTS = range(0x300, 0x370)


def cases(catalogue: Sequence[GeneratedProduct], seed: int = 3) -> list[Case]:
    """Return the queries, the same ones for the same catalogue and seed."""
    found = []
    for kind, asked in _Queries(catalogue, random.Random(seed)).kinds():  # noqa: S311
        texts: set[str] = set()
        for text, rule in islice(asked, _ATTEMPTS):
            if text in texts:
                continue
            texts.add(text)
            grades = {number: rule(one.traits) for number, one in enumerate(catalogue)}
            good = {number: grade for number, grade in grades.items() if grade}
            identity = f"generated-{kind.replace(' ', '-')}-{len(texts):02}"
            found.append(Case(identity, kind, text, good))
            if len(texts) == EACH:
                break
    return found


@dataclass(frozen=True, slots=True)
class _Queries:
    catalogue: Sequence[GeneratedProduct]
    chance: random.Random

    def kinds(self) -> Iterator[tuple[str, Iterator[Asked]]]:
        yield "name", self.names()
        yield "one word", self.one_word()
        yield "words", self.several_words()
        yield "prefix", self.prefixes()
        yield "plural", self.plurals()
        yield "attribute", self.attributes()
        yield "category", self.categories()
        yield "tag", self.tags()
        yield "description", self.descriptions()
        yield "one error", self.one_error()
        yield "two errors", self.two_errors()
        yield "case and accents", self.case_and_accents()
        for language, name in _LANGUAGES.items():
            yield name, self.foreign(language)
        yield "punctuation", self.punctuation()
        yield "some words", self.some_words()
        yield "nothing", ((text, lambda _: 0) for text in _GARBAGE)

    def some(self) -> Iterator[Traits]:
        """Traits of random products with an English name."""
        english = [one.traits for one in self.catalogue if one.traits.language == "en"]
        while True:
            yield self.chance.choice(english)

    def names(self) -> Iterator[Asked]:
        unique = [one for one in self.catalogue if one.traits.code in one.name]
        for one in self.chance.sample(unique, EACH):
            yield one.name, _is(one.traits)

    def one_word(self) -> Iterator[Asked]:
        """Nouns; some begin other words, such as "can" and "candle"."""
        for text in ("can", "lamp", "book", "knife", "box", "pot", "game", "pen", "bag", "tent"):
            yield text, use("book") if text == "book" else family(text)
        for one in self.some():
            yield one.family, family(one.family)

    def several_words(self) -> Iterator[Asked]:
        for one in self.some():
            words = [one.noun, one.brand.lower(), one.material]
            self.chance.shuffle(words)
            yield " ".join(words), all_of(noun(one.noun), brand(one.brand), material(one.material))

    def prefixes(self) -> Iterator[Asked]:
        for one in self.some():
            typed = one.noun[: -self.chance.randint(1, 3)]
            if len(typed) < 4 or typed.endswith(" "):
                continue
            if self.chance.random() < 0.5:
                yield typed, noun_begins(typed)
            else:
                yield f"{one.material} {typed}", all_of(material(one.material), noun_begins(typed))

    def plurals(self) -> Iterator[Asked]:
        for one in self.some():
            if one.noun.endswith("s"):  # the singular of "headphones"
                yield one.noun.removesuffix("s"), noun(one.noun)
            elif self.chance.random() < 0.5:
                yield plural(one.family), family(one.family)
            else:
                yield (
                    f"{one.material} {plural(one.noun)}",
                    all_of(material(one.material), noun(one.noun)),
                )

    def attributes(self) -> Iterator[Asked]:
        for one in self.some():
            if self.chance.random() < 0.7:
                yield f"{one.material} {one.noun}", all_of(material(one.material), noun(one.noun))
            else:
                yield f"{one.noun} {one.colour}", all_of(colour(one.colour), noun(one.noun))

    def categories(self) -> Iterator[Asked]:
        for text in ("kitchen", "outdoor", "electronics", "clothing", "books", "toys", "games"):
            yield text, category(text)
        yield "office supplies", category("office supplies")
        yield "Garden tools", category("garden tools")
        yield "home living", category("home & living")
        yield "book", category("book")

    def tags(self) -> Iterator[Asked]:
        uses = sorted({each for kind in KINDS for each in kind.uses.split()})
        self.chance.shuffle(uses)
        for each in uses:
            yield each, use(each)

    def descriptions(self) -> Iterator[Asked]:
        for one in self.some():
            if self.chance.random() < 0.5:
                yield one.feature, feature(one.feature)
            else:
                yield (
                    f"{one.feature} {one.family}",
                    all_of(feature(one.feature), family(one.family)),
                )

    def one_error(self) -> Iterator[Asked]:
        for one in self.some():
            if len(one.family) < 4:
                continue
            wrong = misspelt(one.family, 1, self.chance)
            if self.chance.random() < 0.4:
                yield wrong, family(one.family)
            else:
                text = one.noun.removesuffix(one.family) + wrong
                yield f"{one.material} {text}", all_of(material(one.material), noun(one.noun))

    def two_errors(self) -> Iterator[Asked]:
        for one in self.some():
            if len(one.family) >= 8 and self.chance.random() < 0.7:
                yield misspelt(one.family, 2, self.chance), family(one.family)
            elif len(one.family) >= 5 and len(one.material) >= 5:
                first = misspelt(one.material, 1, self.chance)
                second = misspelt(one.family, 1, self.chance)
                yield f"{first} {second}", all_of(material(one.material), family(one.family))

    def case_and_accents(self) -> Iterator[Asked]:
        for text, name in (("agren", "Ågren"), ("CELIK", "Çelik"), ("brulee", "Brûlée & Fils")):
            yield text, brand(name)
        for one in self.some():
            if one.brand.isascii():
                yield (
                    f"{one.material} {one.noun}".upper(),
                    all_of(material(one.material), noun(one.noun)),
                )
            else:
                yield (
                    f"{bare(one.brand).lower()} {one.family}",
                    all_of(brand(one.brand), family(one.family)),
                )

    def foreign(self, language: str) -> Iterator[Asked]:
        """Nouns as written, without accents, in capitals, with a material, misspelt; parts."""
        if language in ("de", "fr"):
            yield "lampe", lambda traits: 3 * traits.noun.lower().split()[0].endswith("lampe")
        if language == "de":
            yield "Kuechenmesser", noun("Küchenmesser")
        kinds = FOREIGN[language]
        for kind in kinds:
            first = kind.noun.split()[0]
            yield kind.noun, noun(kind.noun)
            yield bare(kind.noun).upper(), noun(kind.noun)
            if len(first) > 4 and language != "ja":  # kana are misspelt before their conversion
                place = len(first) // 2
                wrong = first[:place] + first[place + 1] + first[place] + first[place + 2 :]
                yield kind.noun.replace(first, wrong), noun(kind.noun)
        for kind in kinds:
            chosen = self.chance.choice(kind.materials.split())
            yield f"{chosen} {kind.noun}", all_of(material(chosen), noun(kind.noun))

    def punctuation(self) -> Iterator[Asked]:
        for text in ("t-shirt", "T shirt", "tshirt", "t-shirts", "cotton t-shirt"):
            wanted = noun("t-shirt")
            yield text, all_of(material("cotton"), wanted) if "cotton" in text else wanted
        yield "o\u2019connor", brand("O'Connor")
        yield "oconnor", brand("O'Connor")
        yield "O'Connor lamp", all_of(brand("O'Connor"), family("lamp"))
        yield "home & living", category("home & living")
        yield "desk lamp, walnut", all_of(noun("desk lamp"), material("walnut"))
        coded = [one for one in self.catalogue if one.traits.code in one.name]
        for one in self.chance.sample(coded, 2):
            yield one.traits.code.lower(), _is(one.traits)
            yield one.traits.code.replace("-", " "), _is(one.traits)

    def some_words(self) -> Iterator[Asked]:
        """No product has all words: they are unknown, or one of the traits is of another product.

        The noun counts most.
        """
        for one, other in zip(self.some(), self.some(), strict=False):
            wanted = noun_or_family(one.noun)
            known = all_of(material(one.material), wanted)
            if self.chance.random() < 0.4:
                extra = self.chance.choice(_UNCOMMON)
                yield f"{extra} {one.material} {one.noun}", rather(known, wanted)
            elif not self.any_is(all_of(known, brand(other.brand))):
                text = f"{other.brand} {one.material} {one.noun}"
                yield text, rather(best_of(known, all_of(brand(other.brand), wanted)), wanted)

    def any_is(self, rule: Rule) -> bool:
        return any(rule(one.traits) == BEST for one in self.catalogue)


def _is(wanted: Traits) -> Rule:
    return lambda traits: 3 * (traits.code == wanted.code)
