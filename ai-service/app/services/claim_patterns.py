"""Patterns of claims that the catalogue cannot support. All of them match folded text."""

import re

from app.retrieval.language import phrases

LINK = re.compile(
    r"https?:|www\.|\b[\w.-]+@[\w-]+\.\w"
    r"|\b[\w-]+\.(?:com|net|org|io|shop|xyz|example|test|de|fr|es|it)\b"
)

_GIVEN_AWAY = (
    "for free|(?:is|are|all|everything|completely|totally) free|gratis|kostenlos|gratuit\\w*"
    "|free (?:of charge|gift|shipping|delivery|today)"
)
_CHEAPER = (
    "discount\\w*|rabatt\\w*|remises?|descuentos?|scont[oi]|voucher\\w*|coupon\\w*|gutschein\\w*"
    "|promos?|promo(?:tion)? ?codes?|code promo|cashback|sale price|half price|off today"
    "|\\d+ ?(?:%|percent|prozent) off"
)
_TERMS = "guaranteed|refund\\w*|warranty|garantie|garantia|garanzia"
_DELIVERY = (
    "arrives? (?:by|in|on|tomorrow|today)|deliver\\w* (?:by|in|within|tomorrow|today|next)"
    "|ships? (?:in|within|today|tomorrow|next)|(?:same|next)[- ]day"
)
_ORDERS = "your order (?:is|was|has|will)|i(?: have|'ve) (?:placed|ordered|cancelled|refunded)"
_BEHIND = "password|system prompt|previous instructions?|my instructions?"

CLAIM = phrases("|".join((_GIVEN_AWAY, _CHEAPER, _TERMS, _DELIVERY, _ORDERS, _BEHIND)))
"""Claims about gifts, discounts, terms, delivery and orders, which are not in the catalogue."""

OFFER = phrases(
    "we (?:also )?(?:have|sell|offer|carry|stock)|we've got|i(?:'d| would)? (?:recommend|suggest)"
    "|how about|try|check out|consider|available|there (?:is|are)|take a look"
    "|you (?:could|can|might) (?:get|buy|try)|wir (?:haben|fuhren|verkaufen)|ich empfehle|es gibt"
    "|nous avons|je (?:vous )?(?:recommande|conseille|propose)|il y a|tenemos|hay"
    "|(?:le |te )?recomiendo|abbiamo|(?:le |ti )?consiglio|c'e|ci sono"
)
"""Phrases of a sentence that offers something."""

_NO_MORE = (
    "under|below|within|up to|less than|at most|maximum|max|budget|limit|unter|bis|hochstens"
    "|maximal|moins de|sous|jusqu'?a?|menos de|hasta|meno di|sotto|fino a|massimo"
)
_NO_LESS = "over|above|at least|more than|uber|mindestens|plus de|mas de|piu di"
_NEAR = "between|and|zwischen|und|entre|et|y|tra|around|about|range"


def _before_an_amount(alternatives: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{alternatives})\W*(?:\w+\W+){{0,2}}$")


LIMIT = _before_an_amount("|".join((_NO_MORE, _NO_LESS, _NEAR)))
"""The following amount is a limit, not a price."""
NO_MORE = _before_an_amount(_NO_MORE)
NO_LESS = _before_an_amount(_NO_LESS)

_PRICE_FOLLOWS = re.compile(
    r"\b(?:for|at|costs?|only|just|priced?|price (?:at|of|is)|is|from|kostet|kosten|fur|nur|preis"
    r"|coute|pour|prix|cuesta|por|precio|costa|per|prezzo|~)\W*$"
)


def is_money(amount: str, before: str) -> bool:
    """Return True for a number with a currency sign or decimals, or after a word like "costs"."""
    if re.search(r"[^\d.,\s'-]", amount) or re.search(r"[.,]\d{1,2}$", amount):
        return True
    return bool(_PRICE_FOLLOWS.search(before))


_OPENERS = """
hello hi hey sure certainly absolutely great good perfect sorry unfortunately here both either
each happy glad let if since although while because another also and but for with from among yes
no thanks thank welcome enjoy feel hope these this that it they priced made light looking still
just at on in my our your the a an as to gern gerne leider hier voici bien bonjour desole
volontiers aqui claro lo siento ecco certo purtroppo volentieri
"""
OPENERS = frozenset(_OPENERS.split())
"""Common first words of a sentence that are neither function words nor fillers."""

_SUBJECT_ENDS = """
, is are was has have costs comes offers by from and or ist sind hat kostet und est sont a coute et
es son tiene cuesta y e sono ha costa
"""
SUBJECT_ENDS = frozenset(_SUBJECT_ENDS.split())
"""Words that follow a name used as the subject of a sentence."""
