"""Whoever finds no place waits for a moment, in the order of coming."""

from __future__ import annotations

import asyncio

import pytest

from sel_edge.serve.web.places import Places
from sel_edge.serve.web.refusals import RefusalError


async def hold(places: Places, name: str, order: list[str], over: asyncio.Event) -> None:
    async with places.one():
        order.append(name)
        await over.wait()


def test_a_place_that_becomes_free_goes_to_the_one_who_waits_longest():
    async def story() -> list[str]:
        places, order = Places(1, 60.0, "full"), list[str]()
        overs = {name: asyncio.Event() for name in "abc"}
        tasks = [asyncio.create_task(hold(places, n, order, over)) for n, over in overs.items()]
        for over in overs.values():
            await asyncio.sleep(0)
            over.set()
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(story()) == ["a", "b", "c"]


def test_who_has_waited_in_vain_is_refused_and_takes_no_place():
    async def story() -> None:
        places, over, order = Places(1, 0.01, "They are all taken."), asyncio.Event(), list[str]()
        first = asyncio.create_task(hold(places, "first", order, over))
        await asyncio.sleep(0)
        with pytest.raises(RefusalError, match="all taken") as refused:
            async with places.one():
                pass
        over.set()
        await first
        await hold(places, "second", order, over)
        assert (refused.value.status, order) == (503, ["first", "second"])

    asyncio.run(story())


def test_an_error_leaves_the_place_free():
    async def story() -> None:
        places = Places(1, 0.01, "full")
        for _ in range(3):
            with pytest.raises(ValueError, match="broken"):
                async with places.one():
                    raise ValueError("broken")

    asyncio.run(story())
