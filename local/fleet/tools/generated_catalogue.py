"""A catalogue of any size from a seeded generator, for benchmarks and the search evaluation.

Each product has traits: its noun, brand, material and so on, from which its texts are written. The
evaluation derives from them which products answer a query, independent of the search.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Traits:
    """The properties from which a product is generated.

    Attributes:
        noun: in the singular, such as "desk lamp".
        family: the last word of the noun, such as "lamp"; also for a "lampe" or "lámpara".
        accent: the material of a part.
        uses: tags.
        feature: a word that only the description has.
        fits: the noun of the products that this one is an accessory of.
        language: of the name, as ISO 639-1.
    """

    noun: str
    family: str
    category: str
    brand: str
    material: str
    accent: str
    colour: str
    uses: tuple[str, ...]
    feature: str
    fits: str = ""
    code: str = ""
    language: str = "en"


@dataclass(frozen=True, slots=True)
class GeneratedProduct:
    name: str
    description: str
    category: str
    tags: tuple[str, ...]
    price: Decimal
    stock_quantity: int
    traits: Traits


@dataclass(frozen=True, slots=True)
class Kind:
    """A noun, and what its products have in common."""

    noun: str
    category: str
    uses: str
    materials: str
    features: str
    dearest: int = 100
    fits: str = ""
    family: str = ""

    @property
    def last_word(self) -> str:
        return self.family or self.noun.split()[-1]


_HOME, _KITCHEN, _OUTDOOR = "Home & Living", "Kitchen", "Outdoor"
_OFFICE, _AUDIO, _CLOTHING = "Office Supplies", "Electronics", "Clothing"
_TOYS, _GARDEN, _BOOKS = "Toys & Games", "Garden Tools", "Books"
_WOODS, _METALS = "walnut oak birch bamboo", "brass steel copper aluminium"
_LIGHT = "dimmable glare-free flicker-free"
_CLOTH = "breathable preshrunk machine-washable"
_COOKING = "dishwasher-safe ovenproof rust-resistant"
_GADGET = "rechargeable splashproof quick-charging"
_TOUGH = "weatherproof collapsible featherweight"

KINDS = (
    Kind("desk lamp", _HOME, "light desk reading", f"{_WOODS} {_METALS}", _LIGHT, 160),
    Kind("floor lamp", _HOME, "light livingroom", f"{_WOODS} {_METALS}", _LIGHT, 320),
    Kind("table lamp", _HOME, "light bedroom", f"{_METALS} ceramic glass", _LIGHT, 180),
    Kind("lampshade", _HOME, "light spare", "linen paper glass", "fireproof", 60, "desk lamp"),
    Kind("wall clock", _HOME, "time office", f"{_WOODS} {_METALS}", "soundless precise"),
    Kind("picture frame", _HOME, "decoration gift", f"{_WOODS} {_METALS}", "shatterproof", 50),
    Kind("bookshelf", _HOME, "storage livingroom", "walnut oak birch pine", "self-assembly", 400),
    Kind("vase", _HOME, "decoration bouquets gift", "ceramic glass porcelain brass", "hand-thrown"),
    Kind("blanket", _HOME, "textile bedroom gift", "wool cotton linen fleece", _CLOTH, 120),
    Kind("cushion", _HOME, "textile livingroom", "linen velvet cotton", _CLOTH, 50),
    Kind("candle", _HOME, "decoration gift", "beeswax soy", "unscented smokeless", 40),
    Kind("storage box", _HOME, "storage bedroom", "bamboo felt linen", "stackable lidded", 50),
    Kind("teapot", _KITCHEN, "tea gift", "porcelain ceramic glass steel", _COOKING, 90),
    Kind("coffee grinder", _KITCHEN, "coffee", "steel ceramic", "adjustable noiseless", 180),
    Kind("espresso machine", _KITCHEN, "coffee", "steel aluminium", "descaling preheating", 900),
    Kind("frying pan", _KITCHEN, "cooking", "steel copper aluminium", _COOKING, 140),
    Kind("kitchen knife", _KITCHEN, "cooking", "steel ceramic", "full-tang rust-resistant", 200),
    Kind("knife block", _KITCHEN, "storage spare", _WOODS, "magnetised", 90, "kitchen knife"),
    Kind("cutting board", _KITCHEN, "cooking", f"{_WOODS} olive", "oiled juice-grooved", 70),
    Kind("mixing bowl", _KITCHEN, "baking", "steel glass ceramic", _COOKING, 60),
    Kind("kitchen scale", _KITCHEN, "baking", "glass steel", "calibrated splashproof", 60),
    Kind("water bottle", _OUTDOOR, "hiking travel", "steel glass aluminium", "leakproof", 50),
    Kind("tent", _OUTDOOR, "camping hiking", "nylon polyester canvas", _TOUGH, 600),
    Kind("sleeping bag", _OUTDOOR, "camping", "down polyester", _TOUGH, 350),
    Kind("camping stove", _OUTDOOR, "camping cooking", "steel titanium", _TOUGH, 150),
    Kind("backpack", _OUTDOOR, "hiking travel", "nylon canvas leather", _TOUGH, 220),
    Kind("head torch", _OUTDOOR, "camping running", "aluminium plastic", _GADGET, 90),
    Kind("folding chair", _OUTDOOR, "camping garden", "aluminium oak canvas", _TOUGH, 130),
    Kind("fountain pen", _OFFICE, "writing gift", f"{_METALS} resin", "refillable", 250),
    Kind("ink cartridge", _OFFICE, "writing spare", "plastic", "lightfast", 20, "fountain pen"),
    Kind("notebook", _OFFICE, "writing paper", "leather paper linen", "acid-free threadbound", 40),
    Kind("desk organizer", _OFFICE, "desk storage", f"{_WOODS} felt", "modular", 80),
    Kind("office chair", _OFFICE, "desk seating", "mesh leather", "adjustable swivelling", 700),
    Kind("headphones", _AUDIO, "music wireless travel", "aluminium plastic leather", _GADGET, 400),
    Kind("speaker", _AUDIO, "music wireless", f"{_WOODS} plastic", _GADGET, 300),
    Kind("keyboard", _AUDIO, "desk wireless", "aluminium plastic", "hot-swappable", 200),
    Kind("mouse", _AUDIO, "desk wireless", "plastic aluminium", "ambidextrous", 100),
    Kind("charging cable", _AUDIO, "power travel", "nylon plastic", "kink-free", 30),
    Kind("t-shirt", _CLOTHING, "clothing summer", "cotton linen merino", _CLOTH, 60),
    Kind("sweater", _CLOTHING, "clothing winter", "wool merino cashmere", _CLOTH, 220),
    Kind("sock", _CLOTHING, "clothing hiking", "merino cotton wool", _CLOTH, 30),
    Kind("rain jacket", _CLOTHING, "clothing hiking", "nylon polyester", "seam-sealed", 300),
    Kind("jigsaw puzzle", _TOYS, "family gift", "cardboard birch", "dust-free", 50),
    Kind("board game", _TOYS, "family gift", "cardboard birch", "replayable", 80),
    Kind("toy train", _TOYS, "children gift", "beech birch plastic", "saliva-proof", 120),
    Kind("building blocks", _TOYS, "children", "beech plastic", "saliva-proof", 90),
    Kind("watering can", _GARDEN, "garden plants", "steel copper plastic", "drip-free", 70),
    Kind("pruning shears", _GARDEN, "garden plants", "steel titanium", "left-handed", 90),
    Kind("garden trowel", _GARDEN, "garden plants", "steel copper", "left-handed", 40),
    Kind("flower pot", _GARDEN, "garden plants", "terracotta ceramic", "frostproof", 50),
    Kind("cookbook", _BOOKS, "book cooking gift", "paper", "illustrated", 45),
    Kind("travel guide", _BOOKS, "book travel", "paper", "pocket-sized", 35),
    Kind("novel", _BOOKS, "book", "paper", "bestselling", 30),
)  # fmt: skip

# Nouns that cannot be confused with a noun of another language.
FOREIGN: Mapping[str, tuple[Kind, ...]] = {
    "de": (
        Kind(
            "Schreibtischlampe",
            _HOME,
            "light",
            "Nussbaum Eiche Messing",
            "dimmbar",
            160,
            "",
            "lamp",
        ),
        Kind("Stehleuchte", _HOME, "light", "Eiche Messing Edelstahl", "dimmbar", 300),
        Kind("Wasserkocher", _KITCHEN, "tea", "Edelstahl Glas", "kabellos", 90),
        Kind("Küchenmesser", _KITCHEN, "cooking", "Edelstahl Keramik", "rostfrei", 150),
        Kind("Bücherregal", _HOME, "storage", "Eiche Nussbaum", "wandmontiert", 400),
        Kind("Gießkanne", _GARDEN, "garden", "Kupfer Zink", "tropffrei", 70),
    ),
    "fr": (
        Kind(
            "lampe de bureau", _HOME, "light", "noyer chêne laiton", "orientable", 160, "", "lamp"
        ),
        Kind("théière", _KITCHEN, "tea", "porcelaine fonte", "émaillée", 90),
        Kind("couteau de cuisine", _KITCHEN, "cooking", "acier céramique", "forgé", 150),
        Kind("étagère", _HOME, "storage", "chêne noyer", "murale", 300),
        Kind("écharpe", _CLOTHING, "winter", "laine cachemire", "tissée", 90),
    ),
    "es": (
        Kind(
            "lámpara de escritorio",
            _HOME,
            "light",
            "nogal roble latón",
            "regulable",
            160,
            "",
            "lamp",
        ),
        Kind("cafetera", _KITCHEN, "coffee", "acero aluminio", "automática", 200),
        Kind("cuchillo de cocina", _KITCHEN, "cooking", "acero cerámica", "forjado", 150),
        Kind("sillón", _HOME, "seating", "cuero roble", "reclinable", 700),
        Kind("muñeca", _TOYS, "children", "algodón madera", "lavable", 50),
    ),
    "el": (
        Kind("φωτιστικό γραφείου", _HOME, "light", "ξύλο ορείχαλκος", "ρυθμιζόμενο", 160),
        Kind("τσαγιέρα", _KITCHEN, "tea", "πορσελάνη γυαλί", "ανθεκτική", 90),
        Kind("μαχαίρι κουζίνας", _KITCHEN, "cooking", "ατσάλι", "ανοξείδωτο", 150),
        Kind("κουβέρτα", _HOME, "textile", "μαλλί βαμβάκι", "πλενόμενη", 120),
    ),
    "ru": (
        Kind("настольная лампа", _HOME, "light", "дуб латунь", "диммируемая", 160),
        Kind("чайник", _KITCHEN, "tea", "сталь стекло", "беспроводной", 90),
        Kind("кухонный нож", _KITCHEN, "cooking", "сталь керамика", "нержавеющий", 150),
        Kind("ёлочная игрушка", _HOME, "decoration", "стекло дерево", "расписная", 40),
    ),
    "ja": (
        Kind("急須", _KITCHEN, "tea", "陶器 鉄", "手作り", 90),
        Kind("弁当箱", _KITCHEN, "lunch", "木製 アルミ", "軽量", 60),
        Kind("包丁", _KITCHEN, "cooking", "鋼 チタン", "研ぎやすい", 200),
        Kind("デスクライト", _HOME, "light", "木製 アルミ", "調光", 160),
    ),
}

BRANDS = (
    "Arbor", "Brightwell", "Caldera", "Dovetail", "Elmhurst", "Fjellheim", "Glenmore", "Halden",
    "Ivarsson", "Juniper", "Kestrel", "Lumio", "Marlow", "Nordlys", "Orsay", "Pemberton", "Quillan",
    "Ravello", "Solvang", "Tavola", "Umbra", "Verano", "Wexford", "Yarrow", "Zephyr", "Ågren",
    "Møller", "Çelik", "Brûlée & Fils", "O'Connor",
)  # fmt: skip
COLOURS = (
    "black", "white", "grey", "navy", "crimson", "emerald", "mustard", "turquoise", "ivory", "rose",
)  # fmt: skip
_PATTERNS: Mapping[str, tuple[str, ...]] = {
    "en": (
        "{brand} {material} {noun}",
        "{material} {noun} {brand}",
        "{brand} {noun}, {colour}",
        "{noun} {brand} {code}",
        "{colour} {material} {noun}",
        "{brand} {code} {noun} in {material}",
    ),
    "de": ("{noun} {brand} aus {material}", "{brand} {noun} {material}"),
    "fr": ("{noun} {brand} en {material}", "{noun} en {material}"),
    "es": ("{noun} {brand} de {material}", "{noun} de {material}"),
    "el": ("{noun} {brand} {material}", "{noun} {material}"),
    "ru": ("{noun} {brand} {material}", "{noun} {material}"),
    "ja": ("{brand} {material}{noun}", "{material}の{noun} {code}"),
}
_OPENINGS = (
    "Made to last for years of daily use.",
    "Designed in a small workshop and finished by hand.",
    "Our most popular model, in its third edition.",
    "Simple, honest and easy to repair.",
    "Comes in recycled packaging with a two-year guarantee.",
)
_FOREIGN_SHARE = 0.18


def generated(count: int, seed: int = 1) -> Iterator[GeneratedProduct]:
    """Yield products, the same ones for the same seed; a longer catalogue begins with a shorter."""
    chance = random.Random(seed)  # noqa: S311  not used for security
    for _ in range(count):
        language = "en"
        if chance.random() < _FOREIGN_SHARE:
            language = chance.choice(list(FOREIGN))
        kind = chance.choice(KINDS if language == "en" else FOREIGN[language])
        yield _product(kind, language, chance)


def _product(kind: Kind, language: str, chance: random.Random) -> GeneratedProduct:
    materials = kind.materials.split()
    material, accent = chance.choice(materials), chance.choice(_METALS.split())
    uses = tuple(kind.uses.split())
    traits = Traits(
        noun=kind.noun,
        family=kind.last_word,
        category=kind.category,
        brand=chance.choice(BRANDS),
        material=material,
        accent=accent if chance.random() < 0.2 and accent not in materials else "",
        colour=chance.choice(COLOURS),
        uses=tuple(use for use in uses if use == uses[0] or chance.random() < 0.7),
        feature=chance.choice(kind.features.split()),
        fits=kind.fits,
        code=f"{chance.choice('ABEKLMRTX')}{chance.choice('CFHKSV')}-{chance.randint(100, 9_999)}",
        language=language,
    )
    name = _name(traits, chance)
    tags = list(traits.uses)
    if traits.material not in name.lower():
        tags.append(traits.material)
    return GeneratedProduct(
        name=name,
        description=_description(traits, chance),
        category=traits.category,
        tags=tuple(dict.fromkeys(tags)),
        price=Decimal(chance.randint(500, 100 * kind.dearest)) / 100,
        stock_quantity=chance.choice((0, 1, 3, 12, 40, 250)),
        traits=traits,
    )


def _name(traits: Traits, chance: random.Random) -> str:
    pattern = chance.choice(_PATTERNS[traits.language])
    noun, material = traits.noun, traits.material
    if traits.language == "en":
        noun = noun.title().replace("T-S", "T-s")
        material = material if " in {material}" in pattern else material.title()
    elif not noun[0].isupper():
        noun = noun[0].upper() + noun[1:]
    return pattern.format(
        brand=traits.brand,
        noun=noun,
        material=material,
        colour=traits.colour.title() if pattern.startswith("{colour}") else traits.colour,
        code=traits.code,
    )


def _description(traits: Traits, chance: random.Random) -> str:
    if traits.language != "en":
        return f"{traits.feature}, {traits.material}. {traits.brand}."
    sentences = [chance.choice(_OPENINGS), f"{traits.material.title()}, {traits.feature}."]
    sentences.append(f"Colour: {traits.colour}.")
    if traits.accent:
        sentences.append(f"With details of {traits.accent}.")
    if traits.fits:
        sentences.append(f"Fits every {traits.fits} of {traits.brand}.")
    if chance.random() < 0.15:
        sentences.append(f"Goes well with a {chance.choice(KINDS).noun}.")
    if chance.random() < 0.3:
        size = chance.choice(("12 cm", "20 cm", "35 cm", "0.75 l", "1.5 l", "A5", "size M"))
        sentences.append(f"Size: {size}.")
    return " ".join(sentences)
