"""`recstream serve`: the gRPC server."""

import uvloop

from cli.errors import CommandError
from configuration.settings import load_settings
from server.app import serve as run_server
from server.config import ServerConfig
from telemetry.background import TaskFailed
from telemetry.logs import configure_logs
from telemetry.tracing.traced import traced


def serve() -> None:
    """Run the gRPC server until SIGTERM. It then finishes open calls; a second SIGTERM ends it at once.

    Until a model is published (`recstream model publish`), lists have popular items.
    """
    settings = load_settings()
    configure_logs()
    config = ServerConfig(
        server=settings.server,
        kafka=settings.kafka,
        store=settings.store,
        profiles=settings.profiles,
        catalog=settings.catalog,
        ranking=settings.ranking,
    )
    try:
        with traced(settings.tracing, "recstream-server"):
            uvloop.run(run_server(config, settings.triton))
    except TaskFailed as error:
        raise CommandError(str(error), "the log has the cause; start the server again") from error
    except OSError as error:
        where = f"{settings.server.host}, ports {settings.server.port} and {settings.server.http_port}"
        raise CommandError(
            f"cannot listen at {where}: {error}", "set another server.port or server.http_port"
        ) from error
