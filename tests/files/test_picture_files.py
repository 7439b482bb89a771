"""Other people's picture files: which are read, and that every profile, mode and range of numbers comes to the sRGB it stands for."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import Image, ImageCms

from stylekit import formats
from stylekit.base_card import BaseCard
from stylekit.errors import PictureError, SettingError, StyleError
from stylekit.formats import FILE_TYPES, SUFFIXES, list_pictures
from stylekit.images import open_mask, open_picture, save_jpeg, save_png
from stylekit.maps import WeightMap
from stylekit.recipe import Recipe
from stylekit.storage.naming import name_results, safe_name
from stylekit.styles import read_style
from training.loop.config import read_yaml

COLOUR = (200, 80, 60)
P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))  # Display P3's red, green and blue in XYZ, for D50
SIZE = (48, 32)


def make_profile(space: bytes, tags: dict[bytes, bytes], pcs: bytes = b"XYZ ", kind: bytes = b"mntr") -> bytes:
    """An ICC profile, version 2."""
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78), b"cprt": b"text" + bytes(4) + b"none\0", **tags}
    tags[b"wtpt"] = xyz(0.9642, 1.0, 0.8249)
    at, table, data = 128 + 4 + 12 * len(tags), b"", b""
    for name, value in tags.items():
        table += name + struct.pack(">II", at + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    head = struct.pack(">I4sI4s4s4s", at + len(data), b"lcms", 0x02400000, kind, space, pcs) + struct.pack(">6H", 2020, 1, 1, 0, 0, 0)
    head += b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + data


def xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * value) for value in values))


def gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(256 * value))


def rgb_profile() -> bytes:
    columns = {name + b"XYZ": xyz(*column) for name, column in zip((b"r", b"g", b"b"), P3, strict=True)}
    return make_profile(b"RGB ", columns | {name + b"TRC": gamma(2.2) for name in (b"r", b"g", b"b")})


def grey_profile() -> bytes:
    return make_profile(b"GRAY", {b"kTRC": gamma(1.0)})


def cmyk_profile() -> bytes:
    """Black ink is black, and any other on its white paper makes a middle grey."""
    identity, steps = bytes(range(256)), np.zeros((16, 3), np.uint8)
    steps[:] = (128, 128, 128)  # L* 50
    steps[0], steps[1::2] = (255, 128, 128), (0, 128, 128)
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    return make_profile(b"CMYK", {b"A2B0": lut + identity * 4 + steps.tobytes() + identity * 3}, b"Lab ", b"prtr")


def write_deep_png(path: Path, numbers: np.ndarray, profile: bytes | None = None) -> Path:
    """A PNG of 16 bits a band, which Pillow writes for grey alone. numbers: (H, W, bands)."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    h, w, bands = numbers.shape
    head = struct.pack(">IIBBBBB", w, h, 16, {1: 0, 2: 4, 3: 2, 4: 6}[bands], 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in numbers)
    icc = chunk(b"iCCP", b"test\0\0" + zlib.compress(profile)) if profile else b""
    body = chunk(b"IHDR", head) + icc + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def in_srgb(colour: tuple[int, int, int], profile: bytes) -> np.ndarray:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    made = ImageCms.profileToProfile(Image.new("RGB", (1, 1), colour), source, ImageCms.createProfile("sRGB"))
    assert made is not None
    return np.asarray(made)[0, 0].astype(int)


def of_colours(mode: str, folder: Path) -> Path:
    """`COLOUR`, and where the mode has it a transparent left half, with a Display P3 profile."""
    profile, path = rgb_profile(), folder / f"{mode}.png"
    flat = Image.new("RGB", SIZE, COLOUR)
    alpha = Image.new("L", SIZE, 255)
    alpha.paste(0, (0, 0, SIZE[0] // 2, SIZE[1]))
    if mode == "RGB":
        flat.save(path, icc_profile=profile)
    elif mode == "RGBA":
        flat.putalpha(alpha)
        flat.save(path, icc_profile=profile)
    elif mode in ("P", "P with alpha"):
        palette = Image.new("P", SIZE, 1)
        palette.putpalette([0, 0, 0, *COLOUR])
        palette.paste(0, (0, 0, SIZE[0] // 2, SIZE[1]))
        palette.save(path, icc_profile=profile, **({"transparency": 0} if mode == "P with alpha" else {}))
    elif mode == "key":
        flat.paste((1, 2, 3), (0, 0, SIZE[0] // 2, SIZE[1]))
        flat.save(path, icc_profile=profile, transparency=(1, 2, 3))
    elif mode == "webp":
        flat.putalpha(alpha)
        path = path.with_suffix(".webp")
        flat.save(path, lossless=True, icc_profile=profile)
    elif mode in ("RGB;16", "RGBA;16"):
        numbers = np.empty((SIZE[1], SIZE[0], 4 if "A" in mode else 3), np.uint16)
        numbers[..., :3] = np.array(COLOUR) * 257
        numbers[..., 3:] = (np.asarray(alpha).astype(np.uint16) * 257)[..., None]
        write_deep_png(path, numbers, profile)
    else:
        numbers = np.broadcast_to((np.array(COLOUR) * 257).astype(np.uint16), (SIZE[1], SIZE[0], 3))
        tifffile.imwrite(path := path.with_suffix(".tif"), numbers, photometric="rgb", iccprofile=profile)
    return path


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "P with alpha", "key", "webp", "RGB;16", "RGBA;16", "TIFF;16"])
def test_a_colour_profile_is_heeded_in_every_mode(mode: str, tmp_path: Path) -> None:
    expected = in_srgb(COLOUR, rgb_profile())
    assert expected[0] - COLOUR[0] > 10  # so much would be lost
    opened = np.asarray(open_picture(of_colours(mode, tmp_path))).astype(int)
    assert np.abs(opened[5, -5] - expected).max() <= 2
    if mode in ("RGBA", "P with alpha", "key", "webp", "RGBA;16"):
        assert (opened[5, 5] == 255).all()


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "L with a profile for RGB"])
def test_a_grey_profile_is_heeded(mode: str, tmp_path: Path) -> None:
    path, profile = tmp_path / "grey.png", grey_profile()
    if mode == "LA":
        Image.merge("LA", [Image.new("L", SIZE, 128), Image.new("L", SIZE, 255)]).save(path, icc_profile=profile)
    elif mode == "I;16":
        write_deep_png(path, np.full((*SIZE[::-1], 1), 128 * 257, np.uint16), profile)
    else:
        Image.new("L", SIZE, 128).save(path, icc_profile=profile if mode == "L" else rgb_profile())
    level = np.asarray(open_picture(path)).mean()
    assert level == pytest.approx(188 if "RGB" not in mode else 128, abs=3)  # light of one half is 188 in sRGB


def test_a_cmyk_profile_is_heeded(tmp_path: Path) -> None:
    for name, options in (("managed", {"icc_profile": cmyk_profile()}), ("bare", {})):
        Image.new("CMYK", SIZE, (255, 0, 0, 0)).save(tmp_path / f"{name}.tif", **options)  # type: ignore[arg-type]
    managed, bare = (np.asarray(open_picture(tmp_path / f"{name}.tif"))[0, 0].astype(int) for name in ("managed", "bare"))
    assert np.abs(managed - 119).max() <= 8
    assert tuple(bare) == (0, 255, 255)


def test_results_say_that_they_are_srgb_and_repeat_byte_for_byte(tmp_path: Path) -> None:
    picture = Image.new("RGB", SIZE, COLOUR)
    first, second = save_png(picture, tmp_path / "a.png", Recipe()), save_png(picture, tmp_path / "b.png", Recipe())
    assert first.read_bytes() == second.read_bytes()
    assert Image.open(first).info["srgb"] == 0
    assert Recipe.from_png(first) == Recipe()
    command = "import sys; from PIL import Image; from stylekit.images import save_jpeg; "
    command += f"save_jpeg(Image.new('RGB', {SIZE}, {COLOUR}), sys.argv[1], 90)"
    save_jpeg(picture, tmp_path / "a.jpg", 90)
    subprocess.run([sys.executable, "-c", command, str(tmp_path / "b.jpg")], check=True)
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()
    profile = ImageCms.ImageCmsProfile(io.BytesIO(Image.open(tmp_path / "a.jpg").info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(profile)
    assert np.abs(np.asarray(open_picture(tmp_path / "a.jpg")).astype(int) - COLOUR).max() <= 3


def test_a_long_name_can_be_saved(tmp_path: Path) -> None:
    path = tmp_path / f"{'n' * 251}.png"
    assert save_png(Image.new("RGB", SIZE), path) == path
    with pytest.raises(PictureError, match="is there already"):
        save_png(Image.new("RGB", SIZE), path, replace=False)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


RAMP = np.tile(np.linspace(0, 1, SIZE[0]), (SIZE[1], 1))


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ((RAMP * 4095).astype(np.uint16), "4095 is taken as white"),
        ((RAMP * 16000).astype(np.uint16), "16383 is taken as white"),
        ((RAMP * 1023).astype(np.uint16), "1023 is taken as white"),
        ((RAMP * 65535).astype(np.uint16), None),
        ((RAMP * 2**31 - 1).clip(0).astype(np.int32), "are spread from black to white"),
        (((RAMP - 0.5) * 4e9).astype(np.int32), "are spread from black to white"),
        (((RAMP - 0.5) * 60000).astype(np.int16), "are spread from black to white"),
        ((RAMP * (2**32 - 1)).astype(np.uint32), "are spread from black to white"),
        (RAMP.astype(np.float32), None),
        ((RAMP * 1.5).astype(np.float32), "1.5, which is taken as white"),
        ((RAMP * 1000).astype(np.float32), "is 1000, which is taken as white"),
        ((RAMP * 0.01).astype(np.float32), "0.01, which is taken as white"),
        ((RAMP * 2 - 1).astype(np.float32), "are spread from black to white"),
        ((RAMP * 255).round().astype(np.float32), "255 is taken as white"),
        (np.repeat((RAMP * 4095).astype(np.uint16)[..., None], 3, -1), "4095 is taken as white"),
        (np.repeat((RAMP * 4095).astype(">u2")[..., None], 3, -1), "4095 is taken as white"),
        (np.repeat((RAMP * 65535).astype(np.uint16)[..., None], 3, -1), None),
    ],
)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_numbers_are_scaled_by_the_range_they_use(numbers: np.ndarray, told: str | None, compression: str | None, tmp_path: Path) -> None:
    path, said = tmp_path / "deep.tif", list[str]()
    kind = "rgb" if numbers.ndim == 3 else "minisblack"
    tifffile.imwrite(path, numbers, photometric=kind, compression=compression, byteorder=">" if numbers.dtype.byteorder == ">" else "<")
    row = np.asarray(open_picture(path, say=said.append))[0, :, 0].astype(int)
    assert np.abs(row - RAMP[0] * 255).max() <= (7 if "16383" in str(told) else 2)
    assert [sentence.startswith("deep.tif: ") and told in sentence for sentence in said] == ([True] if told else [])
    with Image.open(path) as opened:  # as a picture in memory too
        assert np.abs(np.asarray(open_picture(opened, say=said.append))[0, :, 0].astype(int) - row).max() <= 1


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_twelve_bits_in_a_png(bands: int, tmp_path: Path) -> None:
    numbers = np.repeat((RAMP * 4095).astype(np.uint16)[..., None], bands, -1)
    if bands in (2, 4):
        numbers[..., -1] = 4095
    path = write_deep_png(tmp_path / "deep.png", numbers)
    for source in (path, path.read_bytes(), path.open("rb")):
        row = np.asarray(open_picture(source, say=list[str]().append))[0, :, 0].astype(int)
        assert np.abs(row - RAMP[0] * 255).max() <= 2


def test_lights_beyond_white_and_holes_in_floats(tmp_path: Path) -> None:
    numbers, said = RAMP.astype(np.float32), list[str]()
    numbers[0, 0], numbers[1, 0], numbers[2, 0] = 80, np.nan, np.inf
    tifffile.imwrite(tmp_path / "lights.tif", numbers)
    row = np.asarray(open_picture(tmp_path / "lights.tif", say=said.append))[5, :, 0].astype(int)
    assert np.abs(row - RAMP[0] * 255).max() <= 2
    assert "are over 1" in said[0]
    tifffile.imwrite(tmp_path / "none.tif", np.full(SIZE, np.nan, np.float32))
    with pytest.raises(PictureError, match="not one of its numbers is finite"):
        open_picture(tmp_path / "none.tif")
    tifffile.imwrite(tmp_path / "double.tif", RAMP)
    with pytest.raises(PictureError, match=r"double\.tif is a TIFF of numbers that cannot be read: save it with 8 or 16 bits"):
        open_picture(tmp_path / "double.tif")


def test_white_is_zero_in_sixteen_bits(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "negative.tif", (RAMP * 65535).astype(np.uint16), photometric="miniswhite")
    row = np.asarray(open_picture(tmp_path / "negative.tif"))[0, :, 0].astype(int)
    assert np.abs(row - RAMP[0][::-1] * 255).max() <= 2


@pytest.mark.parametrize("values", [(0, 1), (0, 100), (1,)])
def test_a_mask_of_two_values_is_stretched_and_that_is_told(values: tuple[int, ...], tmp_path: Path) -> None:
    mask, said = np.full(SIZE[::-1], values[0], np.uint8), list[str]()
    mask[:10] = values[-1]
    Image.fromarray(mask).save(tmp_path / "mask.png")
    opened = np.asarray(open_mask(tmp_path / "mask.png", say=said.append))
    assert np.array_equal(opened, np.where(mask == values[-1], 255, 0))
    assert said == [f"mask.png: its brightest value is {values[-1]} of 255 and is taken as white."]


def test_a_mask_given_as_a_photo_is_told(tmp_path: Path) -> None:
    said = list[str]()
    for level in (0, 1, 2):
        Image.new("L", SIZE, level).save(tmp_path / f"{level}.png")
        open_picture(tmp_path / f"{level}.png", say=said.append)
    assert [sentence.partition(":")[0] for sentence in said] == ["1.png"]


def test_masks_with_a_palette(tmp_path: Path) -> None:
    mask, said = Image.new("P", SIZE), list[str]()
    mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])  # as data sets mark the first and the second class
    mask.paste(1, (0, 0, 10, 10))
    mask.save(tmp_path / "one.png")
    assert open_mask(tmp_path / "one.png", say=said.append).getextrema() == (0, 255)
    assert len(said) == 1
    mask.paste(2, (20, 0, 30, 10))
    mask.save(tmp_path / "two.png")
    with pytest.raises(PictureError, match=r"two\.png has values 0, 38, 75 of 255, so that it is not clear what is white: paint white"):
        open_mask(tmp_path / "two.png")


def test_soft_masks_are_what_they_are(tmp_path: Path) -> None:
    Image.fromarray((RAMP * 200).astype(np.uint8)).save(tmp_path / "soft.png", icc_profile=grey_profile())
    said = list[str]()
    assert np.array_equal(np.asarray(open_mask(tmp_path / "soft.png", say=said.append)), (RAMP * 200).astype(np.uint8))
    assert said == []
    write_deep_png(tmp_path / "deep.png", (RAMP * 4095).astype(np.uint16)[..., None])
    assert np.abs(np.asarray(open_mask(tmp_path / "deep.png", say=said.append)) - RAMP * 255).max() <= 2
    assert len(said) == 1


@pytest.mark.parametrize("make", [Image.fromarray, np.asarray])
def test_a_weight_map_of_0_and_1_has_weights_of_0_and_1(make: Callable[[np.ndarray], object], caplog: pytest.LogCaptureFixture) -> None:
    values = np.zeros(SIZE[::-1], np.uint8)
    values[:10] = 1
    assert WeightMap.of(make(values)).extremes == (0, 1)  # type: ignore[arg-type]
    assert "1 is taken as white" in caplog.text
    deep = Image.fromarray((RAMP * 65535).astype(np.uint16))
    assert np.abs(WeightMap.of(deep).array - RAMP).max() < 0.01
    assert WeightMap.of(np.full((8, 8), 0.004)).extremes[1] == pytest.approx(0.004, abs=0.001)  # a faint weight stays one
    with pytest.raises(SettingError, match="not one of its numbers"):
        WeightMap.of(Image.fromarray(np.full((8, 8), np.nan, np.float32)))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_ending_on_the_list_is_read(suffix: str, tmp_path: Path) -> None:
    picture, path = Image.new("RGB", SIZE, COLOUR), tmp_path / f"a{suffix.upper()}"
    if suffix == ".pfm":
        path.write_bytes(b"Pf\n48 32\n-1.0\n" + RAMP.astype("<f4").tobytes())
    elif suffix in formats.FORMATS["HEIF"]:
        pillow_heif.from_pillow(picture).save(path)
    else:
        kind = next(kind for kind, suffixes in formats.FORMATS.items() if suffix in suffixes)
        picture.convert({".pgm": "L", ".pbm": "1"}.get(suffix, "RGB")).save(path, "MPO" if suffix == ".mpo" else kind)
    assert list_pictures(tmp_path) == [path]
    opened = open_picture(path)
    assert (opened.mode, opened.size) == ("RGB", SIZE)
    assert suffix in FILE_TYPES
    if suffix in formats.FORMATS["HEIF"]:
        assert np.abs(np.asarray(opened).astype(int) - COLOUR).max() < 12
        assert open_picture(path.read_bytes()).size == SIZE


def test_heic_is_named_where_its_reader_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "phone.heic"
    pillow_heif.from_pillow(Image.new("RGB", SIZE)).save(path)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(PictureError, match=r"phone\.heic is HEIC, and pillow-heif, which reads it, is not installed"):
        open_picture(path)


@pytest.mark.slow
def test_the_reader_of_heic_waits_for_the_first_such_file() -> None:
    command = "import sys, stylekit.__main__, stylekit.images; sys.exit('pillow_heif' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0


def test_what_a_folder_holds_besides_is_counted_and_named(tmp_path: Path) -> None:
    (tmp_path / "deep" / ".cache").mkdir(parents=True)
    for name in ("b.png", "deep/a.JPEG", "deep/.cache/c.png", ".d.png", "notes.txt", "a.svg", *(f"deep/{i}.raw" for i in range(6))):
        (tmp_path / name).touch()
    said: list[str] = []
    assert list_pictures(tmp_path, say=said.append) == [tmp_path / "b.png", tmp_path / "deep" / "a.JPEG"]
    assert "left out 7 files (a.svg, deep/0.raw, deep/1.raw, deep/2.raw, deep/3.raw and 2 more)" in said[0]
    assert list_pictures(tmp_path, deep=False, say=said.append) == [tmp_path / "b.png"]
    assert "left out 2 files (a.svg, deep/)" in said[1]


def test_nothing_in_memory_is_empty_without_a_name() -> None:
    for source in (b"", io.BytesIO()):
        with pytest.raises(PictureError, match=r"upload\.png is empty \(0 bytes\)"):
            open_picture(source, name="upload.png")


def test_an_empty_text_is_called_empty_by_name(tmp_path: Path) -> None:
    for name in ("style.toml", "settings.yaml", "stylekit.json"):
        (tmp_path / name).touch()
    for read, name in ((read_style, "style.toml"), (read_yaml, "settings.yaml"), (BaseCard.read, "stylekit.json")):
        with pytest.raises(StyleError, match=rf"{name} is empty \(0 bytes\)"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("été 2024 (1)", "été-2024-1"),
        ("e\u0301te\u0301", "été"),
        ("星月夜", "星月夜"),
        ("हिन्दी", "हिन्दी"),
        ("owner--name", "owner--name"),
        ("a - b", "a-b"),
        ("../../etc/passwd", "etc-passwd"),
        ("🖌️", "photo"),
        ("", "photo"),
        ("x" * 300, "x" * 60),
    ],
)
def test_safe_names(text: str, name: str) -> None:
    assert safe_name(text, "photo") == name
    assert len(safe_name("語" * 300, "photo", most=300).encode()) <= 150


def test_results_have_names_of_their_own(tmp_path: Path) -> None:
    photos = [tmp_path / name for name in ("a.jpg", "A.png", "a.jpg.png", "é.jpg", "e\u0301.webp")]
    results = name_results(photos, tmp_path, [tmp_path / "mask.png"])
    assert [path.name for path in results] == ["a.jpg-2.png", "A.png.png", "a.jpg.png.png", "é.png", "e\u0301.webp.png"]
    assert [path.name for path in name_results([tmp_path / "mask.jpg"], tmp_path, [tmp_path / "mask.png"])] == ["mask.jpg.png"]
    elsewhere = name_results(photos, tmp_path / "out", [])
    assert [path.name for path in elsewhere] == ["a.png", "A.png.png", "a.jpg.png", "é.png", "e\u0301.webp.png"]
