"""Draw deterministic product images from a name."""

import re
from hashlib import sha256
from html import escape

_PAGE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 600" role="img" aria-label="{name}">
<title>{name}</title>
<defs>
<linearGradient id="sky" gradientTransform="rotate({angle} .5 .5)">
<stop offset="0" stop-color="hsl({hue},62%,86%)"/>
<stop offset="1" stop-color="hsl({far_hue},58%,68%)"/>
</linearGradient>
<linearGradient id="face" x2="0" y2="1">
<stop offset="0" stop-color="#fff" stop-opacity=".92"/>
<stop offset="1" stop-color="#fff" stop-opacity=".68"/>
</linearGradient>
</defs>
<rect width="600" height="600" fill="url(#sky)"/>
<g fill="#fff" fill-opacity=".16">
{bubbles}
</g>
<g transform="translate(300 248)">
<g fill="hsl({hue},55%,42%)" fill-opacity=".16">
{petals}
</g>
<circle r="104" fill="url(#face)"/>
<text y="28" font-family="Georgia,serif" font-size="80" text-anchor="middle" \
fill="hsl({hue},45%,30%)">{initials}</text>
</g>
<g font-family="Helvetica,Arial,sans-serif" font-size="34" font-weight="600" \
text-anchor="middle" fill="hsl({hue},45%,20%)">
{lines}
</g>
</svg>
"""
_LINE = 26


def is_image_name(slug: str) -> bool:
    return re.fullmatch(r"[a-z0-9-]{1,80}", slug) is not None


def draw_product(slug: str) -> str:
    """Return an SVG of 600 by 600 units: a gradient, an emblem with initials, and the name."""
    digest = sha256(slug.encode()).digest()
    words = [word for word in slug.split("-") if word] or ["product"]
    hue = digest[0] * 360 // 256
    return _PAGE.format(
        name=escape(" ".join(words).capitalize()),
        hue=hue,
        far_hue=(hue + 30 + digest[1] % 60) % 360,
        angle=20 + digest[2] % 50,
        bubbles="\n".join(_bubbles(digest[3:15])),
        petals="\n".join(_petals(digest[15], digest[16])),
        initials=escape("".join(word[0] for word in words[:2]).upper()),
        lines="\n".join(_lines(words)),
    )


def _bubbles(noise: bytes) -> list[str]:
    triples = zip(noise[::3], noise[1::3], noise[2::3], strict=True)
    return [
        f'<circle cx="{x * 600 // 255}" cy="{y * 600 // 255}" r="{40 + r // 2}"/>'
        for x, y, r in triples
    ]


def _petals(count: int, width: int) -> list[str]:
    petals = 5 + count % 8
    rx = 34 + width % 24
    return [
        f'<ellipse cy="-96" rx="{rx}" ry="78" transform="rotate({turn * 360 / petals:.1f})"/>'
        for turn in range(petals)
    ]


def _lines(words: list[str]) -> list[str]:
    lines = [""]
    for word in words:
        candidate = f"{lines[-1]} {word}".strip()
        if len(candidate) > _LINE and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = candidate
    shown = [line if len(line) <= _LINE else line[: _LINE - 1] + "…" for line in lines[:3]]
    shown[0] = shown[0][0].upper() + shown[0][1:]
    first = 500 - (len(shown) - 1) * 20
    return [
        f'<text x="300" y="{first + 42 * row}">{escape(line)}</text>'
        for row, line in enumerate(shown)
    ]
