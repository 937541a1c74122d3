"""The lag of ingest is measured even while ingest is stuck."""

from prometheus_client import REGISTRY

from local.servers.valkey import EmbeddedValkey
from tests.ingest.world import T0, MakeWorld, until


def exported(of: str, partition: int = 0) -> float | None:
    return REGISTRY.get_sample_value(f"recstream_ingest_lag_{of}", {"partition": str(partition)})


async def test_a_stuck_batch_shows_in_the_lag_with_the_records_after_it(
    make_world: MakeWorld, own_valkey: EmbeddedValkey
) -> None:
    world = await make_world(store_address=own_valkey.address, partitions=1)
    worker = await world.start()
    await world.send("ann", "a")
    await world.caught_up()

    async def level() -> bool:
        return exported("records") == 0 and exported("seconds") == 0

    await until(level)
    own_valkey.kill()
    for n in range(5):
        await world.send("ann", f"b{n}", at=T0 + 1 + n)

    async def behind() -> bool:
        return exported("records") == 5 and (exported("seconds") or 0) > 2

    await until(behind)
    await own_valkey.start()
    await until(level)
    await worker.stop()
    assert exported("records") is None and exported("seconds") is None
