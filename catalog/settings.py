"""Settings of the catalogue and its index."""

import sys

from pydantic import BaseModel, ConfigDict, Field


class CatalogSettings(BaseModel):
    """The catalogue in memory and its index."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exact_below: int = Field(
        100_000,
        ge=1,
        description="Up to this many vectors every search is an exact scan; above it an HNSW index is built",
    )
    merge_share: float = Field(
        0.02, gt=0, le=1, description="Share of vectors outside the index above which they are merged into it"
    )
    connectivity: int = Field(16, ge=2, le=128, description="HNSW: neighbours per node")
    expansion_add: int = Field(
        64, ge=8, le=1024, description="HNSW: candidates examined when a vector is added"
    )
    expansion_search: int = Field(
        128,
        ge=8,
        le=4096,
        description="HNSW: candidates examined in a search at least; more while recall is below .95, up to the price "
        "of a scan",
    )
    build_threads: int = Field(1, ge=1, le=256, description="HNSW: threads that build the index")
    versions: int = Field(
        3, ge=2, le=16, description="Model versions whose vectors are held: the served ones, then the newest"
    )
    cached_filters: int = Field(
        256, ge=1, le=100_000, description="Filters whose masks are cached, one byte per item each"
    )
    popularity_seconds: float = Field(
        1.0, ge=0, description="How long computed popularity is reused, in seconds"
    )
    partitions_check_seconds: float = Field(
        60, gt=0, description="Time between checks for new partitions of the catalogue's topics, in seconds"
    )

    def unsearched(self) -> "CatalogSettings":
        """These settings for a process that looks vectors up but never searches: no index is built."""
        return self.model_copy(update={"exact_below": sys.maxsize})
