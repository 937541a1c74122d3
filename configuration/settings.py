"""All settings in one place. Flags take precedence over the environment, and the environment over a YAML file."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic_core import to_jsonable_python
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)
from yaml import YAMLError

from catalog.settings import CatalogSettings
from configuration.errors import ConfigurationError
from inference.settings import TritonSettings
from ingest.settings import IngestSettings
from models.training.settings import TrainSettings
from profiles.actions import ProfileSettings
from profiles.settings import StoreSettings
from ranking.settings import RankingSettings
from server.settings import ServerSettings
from telemetry.tracing.settings import TracingSettings
from topics.settings import KafkaSettings

PREFIX: Final = "RECSTREAM_"
DELIMITER: Final = "__"
CONFIG: Final = "RECSTREAM_CONFIG"


class Settings(BaseSettings):
    """All settings, grouped by room.

    A setting is `--set kafka.bootstrap=host:9092` on the command line, `RECSTREAM_KAFKA__BOOTSTRAP=host:9092` in the
    environment, and `kafka: {bootstrap: "host:9092"}` in the YAML file that RECSTREAM_CONFIG or `--config` names.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=DELIMITER, env_ignore_empty=True, frozen=True, extra="forbid"
    )

    bundle: Path = Field(
        Path(".recstream/bundle"), description="The model bundle that `recstream train` made"
    )
    bundles: Path = Field(
        Path(".recstream/bundles"),
        description="Folder of the published bundles; `recstream model publish` writes it, ingest reads it",
    )
    repository: Path | None = Field(
        None,
        description="Triton's model repository, if `recstream model publish` can write to it. None: that of "
        "`recstream up`, or you install versions into Triton's repository yourself",
    )
    kafka: KafkaSettings = Field(default_factory=KafkaSettings, description="Kafka and its topics")
    store: StoreSettings = Field(
        default_factory=StoreSettings, description="Valkey, which holds the profiles"
    )
    profiles: ProfileSettings = Field(default_factory=ProfileSettings, description="What a profile holds")
    catalog: CatalogSettings = Field(default_factory=CatalogSettings, description="The catalogue in memory")
    triton: TritonSettings = Field(
        default_factory=TritonSettings, description="Triton, which serves the model"
    )
    ingest: IngestSettings = Field(default_factory=IngestSettings, description="Ingest and its workers")
    ranking: RankingSettings = Field(default_factory=RankingSettings, description="How lists are made")
    server: ServerSettings = Field(default_factory=ServerSettings, description="The gRPC server")
    tracing: TracingSettings = Field(
        default_factory=TracingSettings, description="Traces of single events, by OpenTelemetry"
    )
    train: TrainSettings = Field(default_factory=TrainSettings, description="How `recstream train` trains")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Orders the sources: arguments, the environment, the file. No .env file is read."""
        file = os.environ.get(CONFIG)
        if not file:
            return init_settings, env_settings
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, Path(file), "utf-8")


def load_settings() -> Settings:
    """Loads the settings of this process. Raises ConfigurationError, naming each wrong setting and its variable."""
    file = os.environ.get(CONFIG)
    if file and not Path(file).is_file():
        raise ConfigurationError(
            f"the settings file {file} does not exist", "name another file with --config, or none"
        )
    _refuse_unknown(os.environ)
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigurationError(explain(error), "docs/configuration.md lists every setting") from error
    except (SettingsError, YAMLError, ValueError, OSError) as error:
        cause = f": {error.__cause__}" if error.__cause__ else ""
        raise ConfigurationError(
            f"settings cannot be read: {error}{cause}", "docs/configuration.md lists every setting"
        ) from error


def explain(error: ValidationError) -> str:
    """Returns a line for each wrong setting. Values are left out, because they may be secrets."""
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        path = [str(part) for part in problem["loc"]]
        lines.append(f"{'.'.join(path)} ({variable(path)}): {problem['msg']}")
    return "wrong settings:\n  " + "\n  ".join(lines)


def variable(path: Iterable[str]) -> str:
    """Returns the environment variable of the setting at this path."""
    return PREFIX + DELIMITER.join(path).upper()


def set_from_flags(assignments: Iterable[str], config: Path | None) -> None:
    """Writes `--set NAME=VALUE` and `--config FILE` to this process's environment.

    So they take precedence over its variables, and child processes inherit them. Raises ConfigurationError.
    """
    if config is not None:
        os.environ[CONFIG] = str(config.resolve())
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise ConfigurationError(
                f"--set {assignment}: expected NAME=VALUE", "for example --set kafka.bootstrap=host:9092"
            )
        os.environ[variable(name.split("."))] = value


def environment_of(settings: Settings) -> dict[str, str]:
    """Returns environment variables that give a child process these settings, without those left at their defaults."""
    found: dict[str, str] = {}
    for room in sorted(settings.model_fields_set):
        value = getattr(settings, room)
        if not isinstance(value, BaseModel):
            found[variable([room])] = _text(value, to_jsonable_python(value, exclude_none=True))
            continue
        # Unset values within a value stay unset, because a surface takes them from `default`.
        given = value.model_dump(mode="json", exclude_unset=True, exclude_none=True)
        for name in sorted(value.model_fields_set):
            found[variable([room, name])] = _text(getattr(value, name), given.get(name))
    return found


def _text(value: object, as_json: object) -> str:
    """Returns the value of a variable: text and secrets as they are, all else as JSON."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, str | Path):
        return str(value)
    return json.dumps(as_json)


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    """Raises ConfigurationError for an unknown room, which pydantic would ignore silently. Names without `__` are not
    checked, because Kubernetes sets some."""
    known = {name.upper() for name in Settings.model_fields}
    for name in environment:
        if (
            name.startswith(PREFIX)
            and DELIMITER in name
            and name[len(PREFIX) :].split(DELIMITER)[0] not in known
        ):
            raise ConfigurationError(
                f"{name} is not a setting", f"{PREFIX} is followed by one of {', '.join(sorted(known))}"
            )
