"""The colours of every plot and chart, for light and for dark screens.

Dense is blue and SEL is orange (Okabe and Ito's pair, told apart by every common colour vision);
green and red mean right and wrong only, and always come with a mark.
"""

from __future__ import annotations

PAPER = "#ffffff"
INK = "#1f2328"
MUTED = "#59636e"
GRID = "#dfe3e8"
BAND = "#f3f5f8"
DENSE = "#0072b2"
DENSE_PALE = "#9cc9e6"
SEL = "#d55e00"
SEL_PALE = "#f3bd97"
RIGHT = "#1a7f37"
WRONG = "#cf222e"

DARK = {
    PAPER: "#161b22",
    INK: "#e6edf3",
    MUTED: "#9ba5b0",
    GRID: "#30363d",
    BAND: "#1f262e",
    DENSE: "#58b1e8",
    DENSE_PALE: "#2b5d80",
    SEL: "#f58a3c",
    SEL_PALE: "#87502b",
    RIGHT: "#3fb950",
    WRONG: "#ff6a63",
}
"""What each colour above becomes on a dark screen."""

HEAT = ("#fff0cc", "#fdd49e", "#fc9f6b", "#e8603c", "#b8264a", "#6a1b5e")
HEAT_DARK = ("#33203f", "#5b2363", "#96305f", "#d0543f", "#f2923d", "#ffd86b")
"""Embarrassment from none to much, six steps; lightness rises or falls steadily with it, away
from the background, so that it also reads without colour."""

_VARIABLES = {
    "paper": PAPER,
    "ink": INK,
    "muted": MUTED,
    "grid": GRID,
    "band": BAND,
    "dense": DENSE,
    "sel": SEL,
    "right": RIGHT,
    "wrong": WRONG,
}


def css_variables() -> str:
    """The palette as custom properties, for light and for dark screens."""

    def block(dark: bool) -> str:
        colors = {name: DARK[color] if dark else color for name, color in _VARIABLES.items()}
        heat = HEAT_DARK if dark else HEAT
        colors |= {f"heat{step}": color for step, color in enumerate(heat)}
        return ":root{" + "".join(f"--{name}:{color};" for name, color in colors.items()) + "}"

    return f"{block(False)}@media (prefers-color-scheme: dark){{{block(True)}}}"


def dark_mode_css() -> str:
    """A style sheet that swaps the palette of an SVG drawn with inline `style` attributes."""
    rules = "".join(
        f'[style*="{part}: {light}"]{{{part}:{dark} !important}}'
        for light, dark in DARK.items()
        for part in ("fill", "stroke")
    )
    return f"@media (prefers-color-scheme: dark){{{rules}}}"
