"""A rolling restart with the chart's settings, while users have open streams."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from local.stack import Stack
from recstream.client import GoingAway, Unavailable
from tests.drills.rolling_world import Deployment, longest, viewers

STREAMS = 200


@pytest.mark.drill
@pytest.mark.timeout(300)
async def test_no_stream_notices_the_replacement_of_both_servers(stack: Stack, tmp_path: Path) -> None:
    await stack.stop_part("server")
    async with (
        Deployment.running(stack, tmp_path / "pods", preStopSeconds=5) as deployment,
        viewers(deployment.target, STREAMS, every_seconds=20) as watched,
    ):
        begun = time.monotonic()
        before = list(deployment.pods)
        await deployment.roll()
        assert deployment.gone == before and len(deployment.pods) == 2
        for each in deployment.gone:
            assert each.process.exit_code == 0, each.process.tail()
            assert each.left_seconds is not None
            assert each.left_seconds < deployment.grace_seconds - deployment.pre_stop_seconds
        await asyncio.sleep(1)
    assert not [error for viewer in watched for error in viewer.errors]
    breaks = Counter(type(error) for viewer in watched for error in viewer.breaks)
    assert breaks.total() >= STREAMS and set(breaks) <= {GoingAway, Unavailable}, breaks
    gaps = list(longest(watched, begun, time.monotonic()))
    print(
        f"{STREAMS} streams, longest time without news: p99 {np.percentile(gaps, 99):.2f} s, max {max(gaps):.2f} s"
    )
    # Only detects a stream that hangs. `bin/bench rolling_restart` measures the figures.
    assert max(gaps) < 30
