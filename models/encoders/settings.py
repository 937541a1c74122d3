"""Which pretrained encoders a model stands on."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Pooling = Literal["auto", "mean", "cls", "last"]


class EncoderSettings(BaseModel):
    """Encoders by path or by the name of one that an installed package ships; nothing is downloaded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text_model: str = Field(
        "all-MiniLM-L6-v2",
        min_length=1,
        description="Hugging Face encoder or decoder for item texts: a folder, a .gguf file, or a packaged name; or "
        "`labels`, where items have categories that are no language",
    )
    pooling: Pooling = Field(
        "auto",
        description="How token vectors become one: their mean, the first (cls), the last; auto: as the model's "
        "own folder says, else the mean",
    )
    text_tokens: int = Field(64, ge=2, le=8192, description="Tokens of an item's text at most")
    image_model: str | None = Field(
        None,
        description="Encoder for item images: a .pth file of EfficientNet-Lite0, or `efficientnet-lite0`; none: images "
        "are not looked at",
    )
