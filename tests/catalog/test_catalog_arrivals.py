"""Small runs of `bin/bench growth`: a catalogue that grows past many capacities and merges while it is searched."""

import pytest

from bench.growth import in_process, with_server
from catalog.index import live
from catalog.settings import CatalogSettings

SETTINGS = CatalogSettings(exact_below=6_000, merge_share=0.1)


@pytest.fixture(autouse=True)
def cheap_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches use the graph. Of so few rows, a scan would cost less."""
    monkeypatch.setattr(live, "_ASK", 0.0)
    monkeypatch.setattr(live, "_NODE", 1e-3)


@pytest.mark.parametrize("seed", range(2))
async def test_searches_stay_right_while_the_catalogue_of_a_process_grows(seed: int) -> None:
    witness = await in_process(20_000, seed, SETTINGS, sample=1)
    assert witness.ok and witness.merges >= 2 and witness.compared >= 50, witness.found()


async def test_lists_are_made_while_items_arrive_at_a_running_server(kafka, valkey, prefix: str) -> None:
    witness, load = await with_server(
        kafka.bootstrap, f"{valkey.host}:{valkey.port}", prefix, 12_000, 0, SETTINGS, sample=1
    )
    assert not load.failures and len(load.took) > 20
    assert witness.ok and witness.merges >= 1, witness.found()
