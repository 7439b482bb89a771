"""Opening pictures safely, and converting them without loss."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from stylekit import images
from stylekit.errors import PictureError
from stylekit.images import open_picture, place_on_grid, save_png, take_from_grid, to_picture, to_tensor, working_size
from stylekit.recipe import Recipe
from stylekit.storage import files


def sentence(error: pytest.ExceptionInfo[PictureError]) -> str:
    text = str(error.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert "Traceback" not in text
    return text


def gradient(size: tuple[int, int] = (40, 30)) -> Image.Image:
    x = np.linspace(0, 255, size[0], dtype=np.uint8)
    array = np.stack([np.tile(x, (size[1], 1)), np.full(size[::-1], 90, np.uint8), np.tile(x[::-1], (size[1], 1))], -1)
    return Image.fromarray(array)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PictureError) as error:
        open_picture(tmp_path / "none.jpg")
    assert "does not exist" in sentence(error)


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(PictureError) as error:
        open_picture(tmp_path)
    assert "folder" in sentence(error)


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.png"
    path.write_bytes(b"")
    with pytest.raises(PictureError) as error:
        open_picture(path)
    assert "empty" in sentence(error)


def test_text_named_png(tmp_path: Path) -> None:
    path = tmp_path / "note.png"
    path.write_text("this is no picture")
    with pytest.raises(PictureError) as error:
        open_picture(path)
    assert "note.png" in sentence(error)


def test_eps_inside_png_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "trick.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\nshowpage\n")
    with pytest.raises(PictureError) as error:
        open_picture(path)
    sentence(error)


def test_truncated_jpeg(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)).save(buffer, "JPEG")
    path = tmp_path / "half.jpg"
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(PictureError) as error:
        open_picture(path)
    assert "cut off" in sentence(error)


@pytest.mark.parametrize("size", [(1, 1), (1, 10000), (10000, 1), (16, 400)])
def test_too_small_or_narrow(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "odd.png"
    Image.new("RGB", size).save(path)
    with pytest.raises(PictureError) as error:
        open_picture(path)
    assert f"{size[0]} x {size[1]}" in sentence(error)


@pytest.mark.parametrize("size", [(9000, 9000), (14000, 14000)])
def test_pixel_bombs_are_refused_before_decoding(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", size).save(path)
    with pytest.raises(PictureError) as error:
        open_picture(path)
    assert "million pixels" in sentence(error)


def test_png_text_bomb(tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    info = PngImagePlugin.PngInfo()
    info.add_text("note", "a" * 70_000_000, zip=True)
    gradient().save(path, pnginfo=info)
    with pytest.raises(PictureError) as error:
        open_picture(path)
    sentence(error)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = gradient()
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = upright if back is None else upright.transpose(Image.Transpose(back))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    stored.save(path, exif=exif)
    assert np.array_equal(np.asarray(open_picture(path)), np.asarray(upright))


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    path = tmp_path / "clear.png"
    picture = Image.new("RGBA", (20, 20), (200, 0, 0, 0))
    picture.paste((0, 0, 200, 255), (0, 0, 10, 20))
    picture.save(path)
    opened = open_picture(path)
    assert opened.mode == "RGB"
    assert opened.getpixel((15, 10)) == (255, 255, 255)
    assert opened.getpixel((5, 10)) == (0, 0, 200)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "I;16", "RGBA", "F", "I", "HSV", "YCbCr"])
def test_every_mode_becomes_rgb_of_the_same_look(mode: str) -> None:
    grey = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (32, 1))
    base = Image.fromarray(grey)
    if mode == "I;16":
        picture = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode == "I":
        picture = Image.fromarray(grey.astype(np.int32) * 257)
    elif mode == "F":
        picture = Image.fromarray(grey.astype(np.float32) / 255)
    elif mode == "P":
        picture = base.quantize(64)  # PIL's own conversion would dither
    else:
        picture = base.convert("RGB").convert(mode) if mode != "1" else base.convert("1")
    opened = open_picture(picture)
    assert opened.mode == "RGB"
    if mode != "1":
        assert np.abs(np.asarray(opened.convert("L"), np.int16) - grey).max() <= 6


def test_sixteen_bit_png_keeps_its_tones(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (32, 1))).save(path)
    row = np.asarray(open_picture(path).convert("L"))[0]
    assert row[0] == 0
    assert row[-1] == 255
    assert abs(int(row[32]) - 130) < 4


def test_animation_gives_its_first_frame(tmp_path: Path) -> None:
    path = tmp_path / "moves.gif"
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert open_picture(path).getpixel((5, 5)) == (255, 0, 0)


def test_metadata_does_not_survive(tmp_path: Path) -> None:
    path = tmp_path / "gps.jpg"
    exif = Image.Exif()
    exif.get_ifd(0x8825)[2] = (48.0, 51.0, 29.6)
    exif[0x010F] = "Camera"
    gradient().save(path, exif=exif)
    opened = open_picture(path)
    assert not opened.getexif()
    saved = save_png(opened, tmp_path / "out.png", Recipe())
    assert not Image.open(saved).getexif()


def test_broken_colour_profile_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "profile.png"
    gradient().save(path, icc_profile=b"not a profile")
    assert np.array_equal(np.asarray(open_picture(path)), np.asarray(gradient()))


def test_the_opened_picture_is_a_copy() -> None:
    picture = gradient()
    opened = open_picture(picture)
    opened.paste((0, 0, 0), (0, 0, 40, 30))
    assert np.array_equal(np.asarray(picture), np.asarray(gradient()))


def test_tensor_round_trip_is_exact(rng: np.random.Generator) -> None:
    picture = Image.fromarray(rng.integers(0, 256, (17, 23, 3), dtype=np.uint8))
    pixels = to_tensor(picture)
    assert pixels.shape == (1, 3, 17, 23)
    assert -1 <= float(pixels.min()) <= float(pixels.max()) <= 1
    assert np.array_equal(np.asarray(to_picture(pixels)), np.asarray(picture))


@pytest.mark.parametrize("phases", [1, 2, 4])
@pytest.mark.parametrize("size", [(16, 16), (17, 33), (33, 17), (64, 96), (2, 40)])
def test_the_grid_holds_the_picture_and_gives_it_back(size: tuple[int, int], phases: int) -> None:
    pixels = torch.rand(1, 3, *size)
    canvases = place_on_grid(pixels, 32, phases)
    assert canvases.shape[0] == phases
    assert canvases.shape[-2] % 32 == 0
    assert canvases.shape[-1] % 32 == 0
    assert canvases.shape[-1] > 32 or canvases.shape[-2] == 32
    assert torch.allclose(take_from_grid(canvases, (size[1], size[0])), pixels)


def test_phases_cancel_a_weave_of_the_grid() -> None:
    """What repeats with the latents' grid, and not with the picture, averages out."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    weave = torch.cos(x * torch.pi / 4) + torch.cos(y * torch.pi / 4)
    canvases = place_on_grid(torch.zeros(1, 3, 40, 40), 32, 2) + weave
    assert float(take_from_grid(canvases[:1], (40, 40)).std()) > 0.9
    assert float(take_from_grid(canvases, (40, 40)).abs().max()) < 1e-5


@pytest.mark.parametrize(("size", "expected"), [((4000, 3000), (768, 576)), ((500, 400), (500, 400)), ((100, 1600), (48, 768))])
def test_working_size_keeps_aspect_and_never_enlarges(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert working_size(size, 768) == expected


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_png(gradient(), tmp_path / "out.png", Recipe())
    before = path.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(PictureError, match="No space left"):
        save_png(gradient((50, 50)), path, Recipe())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["out.png"]


def test_a_mask_is_grey_and_what_is_transparent_is_black(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    mask = Image.new("RGBA", (30, 20), (255, 255, 255, 0))
    mask.paste((255, 255, 255, 255), (0, 0, 10, 20))
    mask.paste((255, 255, 255, 128), (10, 0, 20, 20))
    mask.save(path)
    opened = images.open_mask(path)
    assert opened.mode == "L"
    assert [opened.getpixel((x, 5)) for x in (5, 15, 25)] == [255, 128, 0]
    deep = Image.fromarray(np.full((20, 30), 32768, np.uint16))
    assert images.open_mask(deep).getpixel((5, 5)) == 128
    assert images.open_mask(Image.new("1", (20, 20), 1)).getextrema() == (255, 255)
    with pytest.raises(PictureError, match="does not exist"):
        images.open_mask(tmp_path / "none.png")


def test_paste_back_leaves_pixels_under_no_alpha_alone(rng: np.random.Generator) -> None:
    photo, styled = (Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)) for _ in range(2))
    alpha = Image.fromarray(rng.integers(0, 256, (40, 60), dtype=np.uint8) * rng.integers(0, 2, (40, 60), dtype=np.uint8))
    result, a = np.asarray(images.paste_back(photo, styled, alpha), np.float32), np.asarray(alpha, np.float32)[..., None] / 255
    assert np.array_equal(result[a[..., 0] == 0], np.asarray(photo)[a[..., 0] == 0])
    assert np.array_equal(result[a[..., 0] == 1], np.asarray(styled)[a[..., 0] == 1])
    assert np.abs(result - (a * np.asarray(styled, np.float32) + (1 - a) * np.asarray(photo, np.float32))).max() <= 1
    small = styled.resize((6, 4))
    assert images.paste_back(photo, small, alpha).size == photo.size
