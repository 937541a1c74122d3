"""The settings that a server is built from."""

from dataclasses import dataclass, field

from catalog.settings import CatalogSettings
from profiles.actions import ProfileSettings
from profiles.settings import StoreSettings
from ranking.settings import RankingSettings
from server.settings import ServerSettings
from topics.settings import KafkaSettings


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The settings of the rooms that a server uses."""

    server: ServerSettings = field(default_factory=ServerSettings)
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    profiles: ProfileSettings = field(default_factory=ProfileSettings)
    catalog: CatalogSettings = field(default_factory=CatalogSettings)
    ranking: RankingSettings = field(default_factory=RankingSettings)
