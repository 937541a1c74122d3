"""`recstream ingest`: turns events and items from Kafka into profiles, vectors and popularity."""

from typing import Annotated

import typer
import uvloop

from cli.errors import CommandError
from configuration.settings import load_settings
from ingest.app import ALL_ROLES, IngestConfiguration, Role, run
from telemetry.background import TaskFailed
from telemetry.logs import configure_logs
from telemetry.tracing.traced import traced


def ingest(
    role: Annotated[
        list[Role] | None, typer.Option(help="A role of this process. May be repeated. Default: all roles")
    ] = None,
) -> None:
    """Run ingest until SIGTERM. Any number of processes share the work."""
    settings = load_settings()
    configure_logs()
    configuration = IngestConfiguration(
        ingest=settings.ingest,
        kafka=settings.kafka,
        store=settings.store,
        profiles=settings.profiles,
        catalog=settings.catalog,
        triton=settings.triton,
        bundles=settings.bundles,
        surfaces=settings.ranking,
    )
    try:
        with traced(settings.tracing, "recstream-ingest"):
            uvloop.run(run(configuration, frozenset(role or ALL_ROLES)))
    except TaskFailed as error:
        raise CommandError(str(error), "the log has the cause; start ingest again") from error
    except OSError as error:
        where = f"{settings.ingest.health_host}:{settings.ingest.health_port}"
        raise CommandError(f"cannot listen at {where}: {error}", "set another ingest.health_port") from error
