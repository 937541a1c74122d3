"""Settings of the pretrained encoders."""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

Pooling = Literal["auto", "mean", "cls", "last"]

LABELS: Final = "labels"
"""The `text_model` of items whose texts are labels."""


class EncoderSettings(BaseModel):
    """Encoders by path, or by the name of one that an installed package ships. Nothing is downloaded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text_model: str = Field(
        "all-MiniLM-L6-v2",
        min_length=1,
        description="Hugging Face encoder or decoder for item texts: a folder, a .gguf file, or a packaged name; or "
        "`labels` for categories that are not language, such as attribute ids",
    )
    pooling: Pooling = Field(
        "auto",
        description="How token vectors are pooled: mean, first token (cls), last token; auto: as the model's folder "
        "says, else the mean",
    )
    text_tokens: int = Field(64, ge=2, le=8192, description="Maximum tokens of an item's text")
    image_model: str | None = Field(
        None,
        description="Encoder for item images: a .pth file of EfficientNet-Lite0, or `efficientnet-lite0`; none: images "
        "are ignored",
    )
