"""`recstream topics`: create and check the topics, and adopt one that was recreated."""

import asyncio
import json
from typing import Annotated, Any

import typer
from rich.console import Console

from cli.errors import CommandError
from configuration.settings import load_settings
from topics.create import check_topics, create_topics

topics = typer.Typer(help="Create and check the Kafka topics.", no_args_is_help=True)
_Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document")]


@topics.command()
def create(as_json: _Json = False) -> None:
    """Create the missing topics, with the settings that they need. Existing topics stay as they are."""
    settings = load_settings()
    created = asyncio.run(create_topics(settings.kafka, settings.profiles.time_to_live_days))
    if as_json:
        print(json.dumps({"created": sorted(created)}))
        return
    for name in sorted(created):
        print(f"created {name}")
    if not created:
        print("all topics exist")


@topics.command()
def check(as_json: _Json = False) -> None:
    """Check the topics. Exits with status 1 if anything is wrong."""
    settings = load_settings()
    problems = asyncio.run(check_topics(settings.kafka, settings.profiles.time_to_live_days))
    if as_json:
        print(
            json.dumps(
                {"problems": [{"topic": p.topic, "text": p.text, "missing": p.missing} for p in problems]}
            )
        )
    else:
        for problem in problems:
            print(problem)
        if not problems:
            print("all topics exist, with the settings that they need")
    if problems:
        raise typer.Exit(1)


@topics.command()
def adopt(
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the profiles, and add the events of the topic to them")
    ] = False,
    reset: Annotated[
        bool, typer.Option("--reset", help="Erase all profiles, and read the topic again")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Adopt `interactions` after it was recreated or has lost records. Stop ingest first.

    Ingest refuses such a topic until you say whether the profiles stay.
    """
    if keep == reset:
        raise CommandError("decide what happens to the profiles", "give either --keep or --reset")
    adopted = asyncio.run(_adopt(reset=reset))
    if as_json:
        print(json.dumps(adopted))
    else:
        where = ", ".join(map(str, adopted["partitions"])) or "none"
        Console(highlight=False).print(
            f"adopted topic {adopted['topic_id']}; partitions read from their start: {where}; "
            f"profiles deleted: {adopted['profiles_deleted']}"
        )


async def _adopt(*, reset: bool) -> dict[str, Any]:
    from ingest.adopt import Adopt
    from ingest.adopt import adopt as adopt_topic
    from profiles.store.store import ProfileStore

    settings = load_settings()
    store = await ProfileStore.connect(settings.store)
    try:
        done = await adopt_topic(settings.kafka, store, Adopt.RESET if reset else Adopt.KEEP)
    finally:
        await store.close()
    return {
        "topic_id": done.topic_id.hex(),
        "partitions": list(done.partitions),
        "profiles_deleted": done.profiles_deleted,
    }
