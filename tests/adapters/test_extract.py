"""A LoRA taken out of a DreamBooth difference: the best of its rank, layer by layer, and exact where the rank suffices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylekit.adapters import apply, deltas, lora_file
from stylekit.adapters.deltas import Delta
from stylekit.base import Base
from stylekit.base_card import POCKET
from stylekit.errors import SettingError
from stylekit.storage.paths import STYLES_FOLDER
from stylekit.styles import StyleLibrary
from training import extract

RANK = 3
CONV, LINEAR = "conv_out.weight", "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"


@pytest.fixture(scope="module")
def base() -> Base:
    return Base.open(device="cpu", dtype=torch.float32)


def difference(base: Base, **changes: object) -> Delta:
    """Differences of rank `RANK` to a convolution and a linear layer, and one to a bias."""
    generator = torch.Generator().manual_seed(0)
    own = deltas.parameters(base.unet)
    tensors = {"conv_out.bias": torch.full_like(own["conv_out.bias"], 0.01)}
    for name in (CONV, LINEAR):
        rows, columns = own[name].flatten(1).shape
        product = torch.randn(rows, RANK, generator=generator) @ torch.randn(RANK, columns, generator=generator)
        tensors[name] = 0.01 * product.view_as(own[name])
    values = {"tensors": tensors, "instance": None, "base": POCKET, "base_digest": deltas.base_digest(base.unet), "metadata": {}}
    return Delta(name="mist", **(values | changes))  # type: ignore[arg-type]


def test_enough_rank_is_exact(base: Base) -> None:
    delta = difference(base)
    found = extract.extract(delta, base.unet, base.prompt_embeds()[0], RANK, "flat")
    assert found.kept == pytest.approx(1, abs=1e-5)
    assert found.left_out.keys() == {"conv_out.bias"}
    apply.inject(base.unet, found.lora)
    with apply.applied(base.unet, {"flat": 1.0}):
        own = {name: p.clone() for name, p in deltas.parameters(base.unet).items()}
    apply.eject(base.unet, "flat")
    for name in (CONV, LINEAR):
        assert torch.allclose(own[name] - deltas.parameters(base.unet)[name], delta.tensors[name], atol=1e-5)


def test_no_other_lora_of_that_rank_is_nearer(base: Base) -> None:
    change = torch.randn(24, 40, generator=torch.Generator().manual_seed(3))
    singular = torch.linalg.svdvals(change)
    shares = []
    for rank in (1, 4, 12, 24):
        (down, up), kept = extract.factors(change, rank)
        assert (down.shape, up.shape) == ((rank, 40), (24, rank))
        assert float((change - up @ down).square().sum()) == pytest.approx(float(singular[rank:].square().sum()), abs=1e-3)
        shares.append(kept / float(change.square().sum()))
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1, abs=1e-5)
    (down, up), _ = extract.factors(torch.randn(8, 4, 3, 3), 99)
    assert (down.shape, up.shape) == ((8, 4, 3, 3), (8, 8, 1, 1))


def test_a_learned_prompt_moves_into_the_layers_that_read_it(base: Base) -> None:
    """With the neutral prompt the LoRA gives what the difference gave with the instance prompt, though it changes no prompt."""
    neutral = base.prompt_embeds()[0]
    instance = neutral + 0.5 * torch.randn(neutral.shape, generator=torch.Generator().manual_seed(5))
    delta = difference(base, instance=instance)
    delta = difference(base, instance=instance, tensors={k: t for k, t in delta.tensors.items() if "bias" not in k})
    latents = torch.randn(1, 32, 16, 16, generator=torch.Generator().manual_seed(1))
    apply.inject(base.unet, delta)
    with torch.inference_mode():
        plain = base.denoise(latents, 8, neutral[None])
        with apply.applied(base.unet, {"mist": 1.0}):
            wanted = base.denoise(latents, 8, instance[None])
            unprompted = base.denoise(latents, 8, neutral[None])
        apply.eject(base.unet, "mist")
        found = extract.extract(delta, base.unet, neutral, len(neutral), "folded")
        apply.inject(base.unet, found.lora)
        with apply.applied(base.unet, {"folded": 1.0}):
            got = base.denoise(latents, 8, neutral[None])
        apply.eject(base.unet, "folded")
    assert (wanted - unprompted).abs().mean() > 100 * (wanted - got).abs().mean()
    assert torch.equal(base.denoise(latents, 8, neutral[None]), plain)
    spoken = difference(base, instance=instance, metadata={deltas.WORDS_KEY: "sks mist"})
    names = extract.extract(spoken, base.unet, neutral, RANK, "spoken").layers
    assert names
    assert not any("attn2" in name for name in names)  # there the prompt itself can be given


def test_from_a_file_to_a_lora_with_report_and_sheet(base: Base, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    delta = difference(base)
    path = deltas.write_delta(
        tmp_path / "styles" / "mist" / "pocket" / deltas.DELTA_FILE, delta.tensors, None, delta.base_digest, {"stylekit_base": POCKET}
    )
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(photos / "a.png")
    out = tmp_path / "styles" / "mist-lora" / "pocket"
    argv = [str(path), "--rank", "2", "--out", str(out), "--photos", str(photos)]
    assert extract.main(argv) == 0
    said = capsys.readouterr().out
    assert "of the squared change of 2 layers is kept" in said
    figures = json.loads((out / extract.REPORT_FILE).read_text())
    assert 0.5 < figures["kept"] < 1
    assert figures["layers"].keys() == {name.removesuffix(".weight") for name in (CONV, LINEAR)}
    assert figures["left_out"] == ["conv_out.bias"]
    assert Image.open(out / extract.SHEET_FILE).size == (3 * (extract.SHEET_SIDE + 4) - 4, extract.SHEET_SIDE)
    assert lora_file.read_lora(out / lora_file.WEIGHTS_FILE).ranks == {name.removesuffix(".weight"): 2 for name in (CONV, LINEAR)}
    card = StyleLibrary.open(tmp_path / "styles")["mist-lora"].adapter(POCKET)
    assert (card.kind, card.path.name) == ("lora", lora_file.WEIGHTS_FILE)
    assert "taken out of a DreamBooth run" in card.made
    before = (out / lora_file.WEIGHTS_FILE).read_bytes()
    assert extract.main(argv) == 2
    assert "exists: choose another --out folder" in capsys.readouterr().err
    assert (out / lora_file.WEIGHTS_FILE).read_bytes() == before


def test_mistakes(base: Base, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SettingError, match="rank is 0"):
        extract.extract(difference(base), base.unet, base.prompt_embeds()[0], 0, "a")
    lora = STYLES_FOLDER / "sketch" / "pocket" / "pytorch_lora_weights.safetensors"
    assert extract.main([str(lora), "--out", str(tmp_path)]) == 2
    assert "is no DreamBooth file of stylekit's" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
