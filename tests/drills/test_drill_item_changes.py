"""Ten thousand changes of items in any order, through two servers, with retries."""

import pytest

from tests.ingest.folding import all_folded
from tests.server.two_servers import shop, shown, shuffled_changes
from tests.server.world import eventually


@pytest.mark.drill
@pytest.mark.timeout(600)
async def test_both_servers_end_in_the_state_of_the_latest_source_times(kafka, valkey, prefix) -> None:
    async with shop(kafka, valkey, prefix) as both:
        final = await shuffled_changes(both, items=500, changes=10_000)
        await all_folded(both.world.kafka)
        for server in both.servers:
            await eventually(lambda server=server: shown(server, list(final)) == final, 120)
