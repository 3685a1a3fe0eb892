"""The wallet of a device on the page: one small chart, and its numbers."""

from __future__ import annotations

from markupsafe import Markup

from sel_edge.report import wording
from sel_edge.report.chart import Series, line_chart
from sel_edge.report.holdings import Wallet

_RESOURCES = {
    "flops_per_day": ("operations per day", "FLOP"),
    "energy_j_per_day": ("energy per day", "J"),
    "watts_mean": ("mean power, as energy within its window", "J"),
    "flash_writes_per_day": ("flash writes per day", "write"),
    "battery": ("battery", "J"),
}
"""Resource -> what people call it, and its unit."""
_STYLES = ("sel", "dense", "train", "sel dotted", "dense dotted")


def wallet_chart(wallet: Wallet) -> Markup | None:
    """What was left of every limit, in percent of its size; None if nothing is limited."""
    if not wallet.holdings:
        return None
    series = [
        Series(_name(resource), _STYLES[number % len(_STYLES)], holding.course)
        for number, (resource, holding) in enumerate(wallet.holdings.items())
    ]
    return line_chart(series, "frames", "What was left in the wallet, in percent, over the frames")


def wallet_rows(wallet: Wallet) -> tuple[tuple[str, ...], ...]:
    """Each limit with its size, the least that was left, and what was left at the end."""
    return tuple(
        (
            _name(resource),
            *(_amount(value, resource) for value in (holding.size, holding.lowest, holding.last)),
        )
        for resource, holding in wallet.holdings.items()
    )


def wallet_note(wallet: Wallet) -> str:
    """What these numbers are, and how warm it was."""
    warmest = wallet.warmest
    degrees = (
        "The temperature could not be read."
        if warmest is None
        else f"Warmest: {wording.signed(f'{warmest:.1f}')}{wording.NBSP}°C measured."
    )
    slow = f"{wallet.throttled:,} of {wording.counted(wallet.records, 'record')}"
    return (
        "Bookkeeping: refilled as the budget says, charged with what the meter said of each step. "
        f"{degrees} The firmware slowed the processor down at {slow}."
    )


def _name(resource: str) -> str:
    return _RESOURCES[resource][0] if resource in _RESOURCES else wording.printable(resource)


def _amount(value: float, resource: str) -> str:
    _, unit = _RESOURCES.get(resource, ("", ""))
    return wording.counted(round(value), unit) if unit == "write" else wording.scaled(value, unit)
