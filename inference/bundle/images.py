"""Converts image files to squares of RGB bytes, for training and for serving."""

import io
import warnings
from typing import Final

import numpy as np
from numpy.typing import NDArray

from inference.errors import MediaUnreadable

_FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF")
_MOST_PIXELS: Final = 25_000_000
# The share of the shorter side that is kept. The published weights were evaluated with it.
_CROP: Final = 0.875


def prepare(content: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Decodes an image and crops its centre.

    Args:
        content: A JPEG, PNG, WebP or GIF file. Only the first frame is used.
        shape: (side, side, 3).

    Returns:
        The centre of the image as uint8 [side, side, 3], upright, with transparency on white.

    Raises:
        MediaUnreadable: The file is of another format, is truncated, or has more than 25 million pixels.
    """
    from PIL import Image, ImageOps  # Imported here, so that only items with images pay for the import.

    side = shape[0]
    try:
        with warnings.catch_warnings():
            # The warnings are about metadata, which is not used.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=_FORMATS) as opened:
                width, height = opened.size
                if width * height > _MOST_PIXELS:
                    raise MediaUnreadable(
                        f"the image has {width} x {height} pixels; the limit is {_MOST_PIXELS:,}"
                    )
                # Decodes a JPEG at a fraction of its size if that is enough.
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
    except Exception as error:
        # Pillow's decoders raise errors of many types: OSError, ValueError, SyntaxError, struct.error.
        raise MediaUnreadable(f"not a readable image: {error}") from error
    return np.asarray(square)
