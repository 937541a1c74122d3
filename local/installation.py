"""Finds the installation that `recstream up` runs in a folder, for other commands."""

from pathlib import Path

from configuration.settings import Settings
from local.servers.ports import remembered_port


def with_installation(settings: Settings, data: Path) -> Settings:
    """Fills in settings that are not set, from the folder of `recstream up`.

    Args:
        settings: The settings. Those that are set stay.
        data: The folder of `recstream up`. It may be missing.

    Returns:
        The settings with the ports that the stack remembers, and with its folders of bundles and models.
    """
    update: dict[str, object] = {}
    if "bootstrap" not in settings.kafka.model_fields_set and (
        port := remembered_port(data / "kafka", "kafka")
    ):
        update["kafka"] = settings.kafka.model_copy(update={"bootstrap": f"127.0.0.1:{port}"})
    if "addresses" not in settings.store.model_fields_set and (
        port := remembered_port(data / "valkey", "valkey")
    ):
        update["store"] = settings.store.model_copy(update={"addresses": (f"127.0.0.1:{port}",)})
    if "address" not in settings.triton.model_fields_set:
        if port := remembered_port(data / "triton", "triton"):
            update["triton"] = settings.triton.model_copy(update={"address": f"127.0.0.1:{port}"})
        if settings.repository is None and (data / "models").is_dir():
            update["repository"] = data / "models"
    if "bundles" not in settings.model_fields_set:
        update["bundles"] = data / "bundles"
    return settings.model_copy(update=update)
