"""Image files to squares of RGB bytes, alike in training and in serving."""

import io
import warnings
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference.errors import MediaUnreadable

_FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF")
_MOST_PIXELS: Final = 25_000_000
# The share of the shorter side that stays, as the published weights were evaluated.
_CROP: Final = 0.875


def prepare(content: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The middle of a JPEG, PNG, WebP or GIF file (its first frame) as uint8 [side, side, 3], upright, on white.

    Raises MediaUnreadable for what is no such file, is cut short, or unfolds to more than 25 million pixels.
    """
    from PIL import Image, ImageOps  # only those who have images pay for it

    side = shape[0]
    try:
        with warnings.catch_warnings():
            # Of metadata that we do not look at.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=_FORMATS) as opened:
                width, height = opened.size
                if width * height > _MOST_PIXELS:
                    raise MediaUnreadable(
                        f"the image has {width} x {height} pixels; {_MOST_PIXELS:,} are the limit"
                    )
                # A JPEG is decoded at a fraction of its size where that is enough.
                opened.draft("RGB", (2 * side, 2 * side))
                image = ImageOps.exif_transpose(opened)
                if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                    image = image.convert("RGBA")
                    ground = Image.new("RGBA", image.size, "white")
                    image = Image.alpha_composite(ground, image)
                image = image.convert("RGB")
                width, height = image.size
                kept = min(width, height) * _CROP
                left, top = (width - kept) / 2, (height - kept) / 2
                square = image.resize(
                    (side, side), Image.Resampling.BICUBIC, box=(left, top, left + kept, top + kept)
                )
    except MediaUnreadable:
        raise
    except (
        Exception
    ) as error:  # pillow raises what its decoders find: OSError, ValueError, SyntaxError, struct.error
        raise MediaUnreadable(f"not a readable image: {error}") from error
    return np.asarray(square)
