"""Sample grids of a training say what the app will say, and the settings for Stable Diffusion 1.5 train for how it is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from diffusers.training_utils import set_seed
from peft.helpers import rescale_adapter_scale
from PIL import Image

from stylekit.adapters import apply
from stylekit.adapters.lora_weights import LoraWeights
from stylekit.base import Base
from stylekit.base_card import SD_CARD
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.styles import LORA, Adapter, Style, StyleLibrary
from stylekit.stylizer import Stylizer
from training.style.records import AdapterUse
from training.style.samples import as_the_app

LAYER = "mid_block.attentions.0.transformer_blocks.0.attn2.to_v"
TRIGGER = "a cat in oil"


def test_a_sample_is_the_apps_picture_with_the_trigger_said(
    twin: Path, photo: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STYLEKIT_CACHE", str(tmp_path))
    set_seed(0)
    base, other = (Base.open(str(twin), device="cpu", dtype=torch.float32) for _ in range(2))
    rows, columns = base.unet.get_submodule(LAYER).weight.shape
    pair = (torch.randn(2, columns), torch.randn(rows, 2))
    lora = LoraWeights(name="fog", modules={LAYER: pair}, alphas={LAYER: 2.0}, metadata={})
    card = Adapter(base="a/b", kind=LORA, path=Path("a"), made="", data="", license="", trigger=TRIGGER, timestep=400)
    style = Style(name="fog", title="Fog", blurb="", period="", license="", adapters=(card,))
    app = Stylizer(base, StyleLibrary(styles=(style,)))
    monkeypatch.setattr(apply, "read_adapter", lambda *_: lora)
    monkeypatch.setattr("stylekit.stylizer.read_text_change", lambda *_: None)
    monkeypatch.setattr("stylekit.plan.default_steps", lambda *_: 3)
    square = photo.resize((64, 64))
    expected = np.asarray(app.stylize(square, Recipe(mix=StyleMix.of("fog"), base=base.name)).image, np.int16)

    apply.inject(other.unet, lora)
    apply._activate(other.unet, {apply.adapter_key("fog"): 1.0})

    @contextmanager
    def dial(scale: float) -> Iterator[torch.Tensor]:
        with rescale_adapter_scale(other.unet, scale):
            yield other.prompt_embeds()

    said, unsaid = (
        np.asarray(as_the_app(other, dial, square, 1.0, AdapterUse(timestep=400, trigger=trigger), "no", 0), np.int16)
        for trigger in (TRIGGER, None)
    )
    assert np.abs(said - expected).max() <= 1
    assert np.abs(unsaid - expected).max() > 3


def test_what_is_trained_for_stable_diffusion_is_what_is_used(root: Path) -> None:
    """No noise that the dial does not reach, a trigger that the card says, and some prompts without it for guidance to lead away from."""
    paths = sorted((root / "training" / "configs" / "sd15").glob("*.yaml"))
    assert len(paths) >= 6
    for path in paths:
        values = yaml.safe_load(path.read_text())
        assert values["t_max"] == SD_CARD.timestep(1)
        assert values["trigger"].strip()
        assert 0.1 <= values["caption_dropout"] <= 0.5
