"""The photo's own features inside a pass of Stable Diffusion, on a random model of its classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylekit import images, sampling
from stylekit.base import Base
from stylekit.conditioning.structure import ATTENTION_UNTIL, FEATURES_UNTIL, Structure, injected_layers
from stylekit.conditioning.words import Words
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.styles import PROMPT, Adapter, Style, StyleLibrary
from stylekit.stylizer import Stylizer

START = 600
BOLD = "an oil painting of dabs"


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


@pytest.fixture
def embeds(sd_base: Base) -> tuple[torch.Tensor, torch.Tensor]:
    width = sd_base.unet.config.cross_attention_dim
    return tuple(torch.randn(2, 1, 77, width, generator=generator()).unbind(0))  # type: ignore[return-value]


def shown(base: Base, structure: Structure | None, noisy: torch.Tensor, timestep: int, embeds: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the layers that are taken over give in a pass, after everything that changes them."""
    found: dict[str, torch.Tensor] = {}

    def denoise(*asked: object) -> torch.Tensor:
        for path in (path for group in injected_layers(base.unet) for path in group):
            layer = base.unet.get_submodule(path)
            handles.append(layer.register_forward_hook(lambda _, __, output, path=path: found.update({path: output})))
        return base.denoise(*asked)  # type: ignore[arg-type]

    handles: list[torch.utils.hooks.RemovableHandle] = []
    (structure.paint(denoise) if structure else denoise)(noisy, timestep, embeds)
    for handle in handles:
        handle.remove()
    return found


def test_the_layers_are_those_of_the_paper(sd_base: Base) -> None:
    features, attention = injected_layers(sd_base.unet)
    assert features == ("up_blocks.1.resnets.1",)
    blocks = {path.rpartition(".transformer_blocks")[0] for path in attention}
    assert blocks == {f"up_blocks.{i}.attentions.{j}" for i in (1, 2, 3) for j in range(3)} - {"up_blocks.1.attentions.0"}
    assert len(attention) == 16


@pytest.mark.parametrize("rows", [1, 2])
def test_at_1_the_features_are_the_photos_own(sd_base: Base, embeds: tuple[torch.Tensor, torch.Tensor], rows: int) -> None:
    """To the bit, in both halves of a guided batch, under other words and from another picture; later those that stop are not."""
    neutral, words = embeds
    photo, other = torch.randn(2, 1, 4, 16, 16, generator=generator()).unbind(0)
    structure = Structure(sd_base, 1.0, photo, neutral, START, seed=5)
    noise = torch.randn(photo.shape, generator=torch.Generator().manual_seed(5))
    features, attention = (set(group) for group in injected_layers(sd_base.unet))
    with torch.inference_mode():
        ends = (START, features | attention), (int(ATTENTION_UNTIL * START) - 1, features), (int(FEATURES_UNTIL * START) - 1, set())
        for timestep, held in ends:
            noised = sampling.add_noise(photo, noise, sd_base.alphas_cumprod[timestep])
            own = shown(sd_base, None, noised, timestep, neutral)
            structure.look(timestep)
            painted = shown(sd_base, structure, other.expand(rows, -1, -1, -1), timestep, words)
            same = {path for path in own if torch.equal(painted[path], own[path].expand_as(painted[path]))}
            follow = {path for path in attention if path.startswith("up_blocks.1.attentions.1.")} if held else set()
            assert held <= same <= held | follow  # the next layer's question follows from the features
    assert not any(module._forward_hooks for module in sd_base.unet.modules())


def test_between_0_and_1_they_are_between(sd_base: Base, embeds: tuple[torch.Tensor, torch.Tensor]) -> None:
    neutral, words = embeds
    photo, other = torch.randn(2, 1, 4, 16, 16, generator=generator()).unbind(0)
    (path,), _ = injected_layers(sd_base.unet)
    with torch.inference_mode():
        seen = []
        for amount in (0.25, 0.5, 1.0):
            structure = Structure(sd_base, amount, photo, neutral, START, seed=5)
            structure.look(START)
            seen.append(shown(sd_base, structure, other, START, words)[path])
        plain = shown(sd_base, None, other, START, words)[path]
    for amount, features in zip((0.25, 0.5), seen, strict=False):
        assert torch.allclose(features, torch.lerp(plain, seen[-1], amount), atol=1e-4)


@pytest.fixture
def painter(twin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stylizer:
    monkeypatch.setenv("STYLEKIT_CACHE", str(tmp_path / "cache"))
    words = Words(positive=BOLD, negative="a photograph")
    card = Adapter(base="a/b", kind=PROMPT, path=Path("style.toml"), made="m", data="d", license="MIT", words=words)
    style = Style(name="bold", title="Bold", blurb="", period="", license="MIT", adapters=(card,))
    return Stylizer(Base.open(str(twin), device="cpu", dtype=torch.float32), StyleLibrary(styles=(style,)))


def test_the_dial_drives_it_and_0_is_the_plain_picture_to_the_bit(painter: Stylizer, photo: Image.Image) -> None:
    base, small = painter.base, photo.resize((128, 64))
    recipe = Recipe(mix=StyleMix.of("bold"), base=base.name, num_inference_steps=3, guidance_scale=2.0)
    pictures = [np.asarray(painter.stylize(small, recipe.with_(structure=amount)).image, float) for amount in (0.0, 0.01, 0.5, 1.0)]
    with torch.inference_mode():  # the plain picture, by the sampler and diffusers' own UNet alone
        latents = base.encode(images.place_on_grid(images.to_tensor(small), base.grid))
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
        both = torch.cat(base.embed(["a photograph", BOLD]))

        def guided(noisy: torch.Tensor, timestep: int) -> torch.Tensor:
            free, led = base.unet(noisy.expand(2, -1, -1, -1), timestep, encoder_hidden_states=both).sample.chunk(2)
            return free + 2.0 * (led - free)

        timesteps = painter.plan(recipe, small.size).timesteps
        *_, last = sampling.sample(guided, latents, noise, timesteps, base.alphas_cumprod, "epsilon")
        plain = images.to_picture(images.take_from_grid(base.decode(last.predicted), small.size))
    assert np.array_equal(pictures[0], np.asarray(plain, float))
    change = [np.abs(picture - pictures[0]).mean() for picture in pictures[1:]]
    assert 0 < change[0] < change[1] < change[2]
    assert change[2] > 1


def test_without_words_there_is_nothing_to_hold_on_to_in_the_first_step(painter: Stylizer, photo: Image.Image) -> None:
    """The picture's pass is then the photo's own."""
    recipe = Recipe(base=painter.base.name, num_inference_steps=1)
    free, held = (painter.stylize(photo.resize((128, 64)), recipe.with_(structure=amount)).image.tobytes() for amount in (0.0, 1.0))
    assert free == held
