"""Any image becomes a square of bytes, or is refused with MediaUnreadable."""

import io

import numpy as np
import pytest
from PIL import Image

from inference.bundle.images import prepare
from inference.errors import MediaUnreadable

SHAPE = (16, 16, 3)


def file(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("size", [(1, 1), (64, 48), (3, 900), (16, 16)])
def test_formats_and_sizes(kind: str, size: tuple[int, int]) -> None:
    found = prepare(file(Image.new("RGB", size, (200, 40, 40)), kind), SHAPE)
    assert found.shape == SHAPE and found.dtype == np.uint8
    assert np.abs(found.astype(int) - (200, 40, 40)).max() < 12


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "I;16"])
def test_modes(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    assert prepare(file(Image.new(mode, (20, 20)), kind), SHAPE).shape == SHAPE


def test_transparency_becomes_white() -> None:
    for mode, kind in (("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP")):
        image = Image.new(mode, (20, 20))
        assert (prepare(file(image, kind), SHAPE) > 250).all()


def test_an_image_is_turned_upright() -> None:
    image = Image.new("RGB", (32, 32))
    image.paste((255, 255, 255), (0, 0, 32, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # the top is at the right
    turned = prepare(file(image, "PNG", exif=exif.tobytes()), SHAPE)
    assert turned[:, 12:].mean() > 200 and turned[:, :4].mean() < 50


def test_only_the_first_frame_is_used() -> None:
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    found = prepare(file(frames[0], "GIF", save_all=True, append_images=frames[1:]), SHAPE)
    assert found[..., 0].min() > 240 and found[..., 2].max() < 15


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        b"\xff\xd8\xff\xe0",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 40,
        b"<svg/>",
        b"GIF89a" + b"\xff" * 20,
        b"RIFF",
    ],
)
def test_a_file_that_is_not_an_image_is_refused(content: bytes) -> None:
    with pytest.raises(MediaUnreadable):
        prepare(content, SHAPE)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_image_is_refused(kind: str) -> None:
    rng = np.random.default_rng(0)
    whole = file(Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)), kind)
    prepare(whole, SHAPE)
    with pytest.raises(MediaUnreadable):
        prepare(whole[: len(whole) // 2], SHAPE)


def test_other_formats_are_refused() -> None:
    with pytest.raises(MediaUnreadable):
        prepare(file(Image.new("RGB", (8, 8)), "TIFF"), SHAPE)


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = file(Image.new("1", (6_000, 6_000)), "PNG")
    assert len(bomb) < 100_000
    with pytest.raises(MediaUnreadable, match="6000 x 6000"):
        prepare(bomb, SHAPE)
