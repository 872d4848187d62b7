"""Figures as SVG within an HTML page, which gives them their colours: light or dark."""

from __future__ import annotations

import io
import re
import zlib

import matplotlib as mpl
from matplotlib.figure import Figure

from stn_cluster.figures.theme import LIGHT, Theme

# Colours that stand for the page's own, which are custom properties of CSS.
_PAGE_COLOURS = {
    "#fefdfc": "var(--page)",
    "#1a1b1c": "var(--ink)",
    "#c8c9ca": "var(--faint)",
    "#010203": "var(--ink)",
}
_BACKGROUND, _TEXT, _FAINT, _STRONG = _PAGE_COLOURS
PAGE = Theme(
    _BACKGROUND,
    _TEXT,
    _FAINT,
    tuple(_STRONG if hue == "#000000" else hue for hue in LIGHT.series),
    LIGHT.colormap,
)


def as_svg(figure: Figure, title: str) -> str:
    """A figure as an SVG element with the page's colours and fonts.

    Its ids are its own, whatever other figures the page has; the same figure gives the same text.

    Args:
        figure: drawn with the theme `PAGE`.
        title: distinct in the page.
    """
    content = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    text = content.getvalue()
    width = 72 * figure.get_figwidth()  # pt
    sized = f'<svg style="max-width:{1.3 * width:.0f}pt;min-width:min(27rem,{width:.0f}pt)"'
    text = re.sub(r'<svg(.*?) width="[^"]*" height="[^"]*"', rf"{sized}\1", text, count=1)
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style).*?</\1>", "", text, flags=re.DOTALL)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    prefix = f"f{zlib.crc32(title.encode()):08x}-"  # the same in every process
    text = re.sub(
        r' id="([^"]*)"',
        lambda match: f' id="{prefix}{match[1]}"' if match[1] in used else "",
        text,
    )
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}", text)
    text = re.sub(r"'?DejaVu Sans'?[^;\"]*", "var(--font)", text)
    for colour, name in _PAGE_COLOURS.items():
        text = text.replace(colour, name)
    return text
