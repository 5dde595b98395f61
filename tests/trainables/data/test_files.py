"""Image files: whatever a picture is stored as, the same upright RGB comes out, or an error with its path."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainables.data import BadImage, FileImages, files, read_image

WIDTH, HEIGHT = 48, 32
ORIENTATION = 0x0112


def smooth() -> np.ndarray:
    """(32, 48, 3) uint8, different in every corner and channel, and kind to lossy formats."""
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([down * 7, across * 5, 255 - down * 3 - across * 2], axis=-1).astype(np.uint8)


def read(path: Path) -> np.ndarray:
    image = read_image(path)
    assert image.dtype == torch.uint8 and image.ndim == 3 and image.shape[0] == 3
    return image.permute(1, 2, 0).numpy()


def near(found: np.ndarray, expected: np.ndarray, most: int = 6) -> bool:
    return found.shape == expected.shape and int(np.abs(found.astype(int) - expected.astype(int)).max()) <= most


@pytest.mark.parametrize("file", ["a.png", "a.bmp", "a.tiff", "a.ppm"])
def test_lossless_rgb_is_read_exactly(tmp_path: Path, file: str) -> None:
    Image.fromarray(smooth()).save(tmp_path / file)
    assert np.array_equal(read(tmp_path / file), smooth())


@pytest.mark.parametrize("by", ["torchvision", "pil"])
def test_jpeg_and_webp_are_read_as_pil_reads_them(tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if by == "pil":
        monkeypatch.setattr(files, "decode_image", None)
    for file in ("a.jpg", "progressive.jpg", "a.webp"):
        Image.fromarray(smooth()).save(tmp_path / file, quality=95, progressive=file.startswith("prog"))
        assert near(read(tmp_path / file), np.asarray(Image.open(tmp_path / file).convert("RGB")), most=2)
        assert near(read(tmp_path / file), smooth(), most=12)


def test_cmyk_is_converted(tmp_path: Path) -> None:
    Image.fromarray(smooth()).convert("CMYK").save(tmp_path / "a.jpg", quality=98)
    assert near(read(tmp_path / "a.jpg"), smooth(), most=25)


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    two = np.where(smooth()[..., :1] > 100, [200, 30, 40], [10, 60, 250]).astype(np.uint8)
    Image.fromarray(two).quantize(2).save(tmp_path / "a.png")
    assert near(read(tmp_path / "a.png"), two, most=2)


@pytest.mark.parametrize("file", ["a.png", "a.jpg"])
def test_grey_has_three_equal_channels(tmp_path: Path, file: str) -> None:
    grey = smooth()[..., 1]
    Image.fromarray(grey).save(tmp_path / file, quality=98)
    assert near(read(tmp_path / file), np.repeat(grey[..., None], 3, axis=-1))


def test_black_and_white_is_0_and_255(tmp_path: Path) -> None:
    Image.fromarray(smooth()[..., 0]).convert("1", dither=Image.Dither.NONE).save(tmp_path / "a.png")
    assert set(np.unique(read(tmp_path / "a.png"))) == {0, 255}


@pytest.mark.parametrize("file", ["a.png", "a.tiff", "a.pgm"])
def test_16_bits_are_scaled_not_clipped(tmp_path: Path, file: str) -> None:
    values = np.linspace(0, 65535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / file)
    expected = np.round(values / 257).astype(np.uint8)
    assert np.array_equal(read(tmp_path / file), np.repeat(expected[..., None], 3, axis=-1))


def test_16_bit_colour_is_scaled_not_clipped(tmp_path: Path) -> None:
    raw = (smooth().astype(">u2") * 257).tobytes()
    rows = b"".join(b"\0" + raw[row * WIDTH * 6 : (row + 1) * WIDTH * 6] for row in range(HEIGHT))
    (tmp_path / "a.png").write_bytes(png(WIDTH, HEIGHT, 16, 2, rows))
    assert near(read(tmp_path / "a.png"), smooth(), most=1)


def png(width: int, height: int, depth: int, kind: int, rows: bytes) -> bytes:
    """A PNG file from its filtered rows; PIL writes no 16-bit colour."""
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    alpha = np.zeros((HEIGHT, WIDTH, 1), dtype=np.uint8)
    alpha[:, 16:32], alpha[:, 32:] = 128, 255
    drawn = np.concatenate([smooth(), alpha], axis=-1)
    expected = np.round(smooth() * (alpha / 255) + 255 * (1 - alpha / 255)).astype(np.uint8)
    for file in ("a.png", "a.webp"):
        Image.fromarray(drawn).save(tmp_path / file, lossless=True, exact=True)
        assert near(read(tmp_path / file), expected, most=1), file
    Image.fromarray(drawn).convert("LA").save(tmp_path / "grey.png")
    assert (read(tmp_path / "grey.png")[:, :16] == 255).all()


def test_a_transparent_colour_of_a_palette_or_of_grey_is_white(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "a.gif", transparency=0)
    assert read(tmp_path / "a.gif")[0, 0].tolist() == [255, 255, 255]
    assert read(tmp_path / "a.gif")[5, 5].tolist() == [200, 0, 0]
    Image.new("L", (8, 8), 7).save(tmp_path / "a.png", transparency=7)
    assert (read(tmp_path / "a.png") == 255).all()
    Image.fromarray(np.full((8, 8), 300, dtype=np.uint16)).save(tmp_path / "b.png", transparency=300)
    assert (read(tmp_path / "b.png") == 255).all()


@pytest.mark.parametrize("file", ["a.jpg", "a.png", "a.webp", "a.tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, file: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(smooth()).save(tmp_path / file, exif=exif, quality=98)
    a = smooth()
    turned = {
        1: a, 2: a[:, ::-1], 3: a[::-1, ::-1], 4: a[::-1],
        5: a.transpose(1, 0, 2), 6: a.transpose(1, 0, 2)[:, ::-1],
        7: a[::-1, ::-1].transpose(1, 0, 2), 8: a.transpose(1, 0, 2)[::-1],
    }[orientation]  # fmt: skip
    assert near(read(tmp_path / file), turned, most=12)


@pytest.mark.parametrize("file", ["a.gif", "a.webp", "a.png", "a.tiff"])
def test_the_first_frame_of_an_animation(tmp_path: Path, file: str) -> None:
    frames = [Image.new("RGB", (16, 12), colour) for colour in ("red", "lime", "blue")]
    more = {"lossless": True} if file == "a.webp" else {}
    frames[0].save(tmp_path / file, save_all=True, append_images=frames[1:], **more)
    assert near(read(tmp_path / file), np.full((12, 16, 3), [255, 0, 0]), most=2)


def test_a_file_is_told_by_its_bytes_not_its_name(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", format="PNG")
    assert np.array_equal(read(tmp_path / "a.jpg"), smooth())


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


def floating() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(smooth()[..., 0].astype(np.float32)).save(buffer, "TIFF")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "is missing"),
        (b"", "is empty"),
        (b"<html>404 not found</html>", "is not an image"),
        (encoded("JPEG")[:1500], "cannot be decoded"),
        (encoded("JPEG")[:-40], "cannot be decoded"),
        (encoded("PNG")[:1500], "cannot be decoded"),
        (encoded("WEBP")[:300], "cannot be decoded"),
        (encoded("GIF")[:1500], "cannot be decoded"),
        (encoded("PNG")[:60] + bytes(200) + encoded("PNG")[260:], "cannot be decoded"),
        (floating(), "cannot be decoded"),
    ],
    ids=lambda value: "" if isinstance(value, bytes | None) else value,
)
def test_a_bad_file_is_an_error_with_its_path(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "the file.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadImage) as caught:
        read_image(path)
    assert caught.value.path == path and caught.value.problem == problem
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    travelled = pickle.loads(pickle.dumps(caught.value))
    assert str(travelled) == str(caught.value) and isinstance(travelled, BadImage)


def test_a_folder_in_place_of_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="cannot be read"):
        read_image(tmp_path)


def test_a_broken_exif_block_does_not_cost_the_picture(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "a.jpg", exif=b"Exif\0\0broken!!", quality=98)
    Image.fromarray(smooth()).convert("CMYK").save(tmp_path / "b.jpg", exif=b"Exif\0\0broken!!", quality=98)
    assert near(read(tmp_path / "a.jpg"), smooth(), most=12)
    assert near(read(tmp_path / "b.jpg"), smooth(), most=25)


def test_a_source_of_files_is_small_and_knows_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "ä b").mkdir()
    Image.fromarray(smooth()).save(tmp_path / "ä b" / "ü.png")
    source = FileImages(tmp_path, ["ä b/ü.png", "none/x.png", str(tmp_path / "ä b/ü.png"), "ä b/y.png"])
    assert len(source) == 4 and not source.in_memory
    assert torch.equal(source[0], source[2]) and torch.equal(pickle.loads(pickle.dumps(source))[0], source[0])
    assert source.missing() == [tmp_path / "none/x.png", tmp_path / "ä b/y.png"]
    many = FileImages(tmp_path, [f"folder/{number:040d}.jpg" for number in range(10_000)])
    assert len(pickle.dumps(many)) < 60 * 10_000
