"""Slow work while the server stops."""

from __future__ import annotations

import asyncio

import pytest

from sel_edge.serve.web.refusals import RefusalError
from sel_edge.serve.web.workshop import Workshop


def test_work_that_comes_while_the_server_stops_is_refused():
    async def story() -> RefusalError:
        workshop = Workshop(1)
        assert await workshop.run(lambda: 7) == 7
        workshop.close()
        with pytest.raises(RefusalError, match="ending") as refused:
            await workshop.run(lambda: 7)
        return refused.value

    assert asyncio.run(story()).status == 503
