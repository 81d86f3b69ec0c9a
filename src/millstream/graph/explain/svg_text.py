"""Words in a drawing: their style, their width without a font at hand, and how they are cut."""

from __future__ import annotations

import unicodedata
from html import escape

from millstream.graph.explain.wording import printable

# Sizes of text as measured, px; the style below has them as drawn. Bold is a tenth wider.
PLAIN, NAME, SMALL, TITLE = 13.0, 1.1 * 13, 11.5, 1.1 * 19

STYLE = """
.ms-graph { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
.ms-graph text { fill: #1f2328; font-size: 13px; }
.ms-graph .ms-title { font-size: 19px; font-weight: 600; }
.ms-graph .ms-name { font-weight: 600; }
.ms-graph .ms-generated { font-style: italic; }
.ms-graph .ms-small, .ms-graph .ms-code { font-size: 11.5px; fill: #59636e; }
.ms-graph .ms-code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.ms-graph .ms-page { fill: #f6f8fa; }
.ms-graph .ms-box { fill: #ffffff; stroke: #d1d9e0; }
.ms-graph .ms-line { stroke: #e6eaef; }
.ms-graph .ms-edge { fill: none; stroke: #818b98; stroke-width: 1.6; }
.ms-graph .ms-fused { stroke-dasharray: 5 4; }
.ms-graph .ms-tip { fill: #818b98; }
.ms-graph .ms-label { fill: #f6f8fa; stroke: #d1d9e0; }
.ms-graph .ms-call { fill: #d4820b; }
.ms-graph .ms-expression { fill: #2da44e; }
.ms-graph .ms-chunk { fill: #0969da; }
.ms-graph .ms-outside { fill: #8c959f; }
@media (prefers-color-scheme: dark) {
.ms-graph text { fill: #e6edf3; }
.ms-graph .ms-small, .ms-graph .ms-code { fill: #9da7b3; }
.ms-graph .ms-page { fill: #0d1117; }
.ms-graph .ms-box { fill: #161b22; stroke: #3d444d; }
.ms-graph .ms-line { stroke: #2a313a; }
.ms-graph .ms-edge { stroke: #8b949e; }
.ms-graph .ms-tip { fill: #8b949e; }
.ms-graph .ms-label { fill: #0d1117; stroke: #3d444d; }
.ms-graph .ms-call { fill: #e3a13a; }
.ms-graph .ms-expression { fill: #3fb950; }
.ms-graph .ms-chunk { fill: #58a6ff; }
.ms-graph .ms-outside { fill: #6e7681; }
}
"""

# Widths in parts of the size, a little more than those of the widest usual interface font: a text
# that is cut too early is better than one that leaves its box.
_NARROW, _WIDE = frozenset(" .,:;'|!()[]{}ijlftrI-/"), frozenset("mwMW@%—→")
_EM = {"narrow": 0.40, "wide": 0.98, "capital": 0.74, "other": 0.62, "code": 0.62, "full": 1.05}


def text_width(text: str, size: float, *, code: bool = False) -> float:
    """Return about how wide a text is drawn, in px."""
    return size * sum(_EM[_kind(each, code)] for each in text)


def shorten(text: str, size: float, room: float, *, code: bool = False) -> str:
    """Return a text that fits, with an ellipsis where it had to be cut."""
    if text_width(text, size, code=code) <= room:
        return text
    room -= text_width("…", size, code=code)
    for end in range(len(text)):
        room -= text_width(text[end], size, code=code)
        if room < 0:
            return text[:end].rstrip() + "…"
    return text


def wrap(text: str, size: float, room: float) -> list[str]:
    """Return the text in lines that fit; a word that does not is left too long."""
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}", size) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def text_element(
    style: str, at: tuple[float, float], text: str, room: float, *, at_end: bool = False
) -> str:
    """Return a text that fits into ``room``.

    A reader who needs what was cut off finds it as the tool tip.

    Args:
        style: title, plain, name, generated, small or code.
        at: x, and y of the base line.
        text: what to show.
        room: how wide it may be.
        at_end: ``at`` is where the text ends.
    """
    full = printable(text)
    size = {"title": TITLE, "plain": PLAIN, "name": NAME, "generated": PLAIN}.get(style, SMALL)
    short = shorten(full, size, room, code=style == "code")
    tip = "" if short == full else f"<title>{escape(full)}</title>"
    anchor = ' text-anchor="end"' if at_end else ""
    place = f'x="{number(at[0])}" y="{number(at[1])}"'
    return f'<text class="ms-{style}" {place}{anchor}>{tip}{escape(short)}</text>'


def number(value: float) -> str:
    """Return a coordinate, to a tenth of a pixel.

    >>> number(12.0), number(0.25), number(123456.78)
    ('12', '0.2', '123456.8')
    """
    return f"{value:.1f}".removesuffix(".0")


def _kind(character: str, code: bool) -> str:
    if not character.isascii() and unicodedata.east_asian_width(character) in "WF":
        return "full"
    if code:
        return "code"
    if character in _NARROW:
        return "narrow"
    if character in _WIDE:
        return "wide"
    return "capital" if character.isupper() else "other"
