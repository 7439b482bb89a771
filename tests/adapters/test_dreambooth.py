"""DreamBooth on the real pocket base and on random models of Stable Diffusion 1.5's classes: trained, read, weighed, painted, refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from benchmarks.sd15_models import REDUCED, save_model
from stylekit import hub
from stylekit.adapters import apply, deltas, lora_file
from stylekit.adapters.deltas import Delta
from stylekit.base import Base
from stylekit.base_card import POCKET
from stylekit.errors import AdapterError, SettingError, StyleError
from stylekit.images import to_tensor
from stylekit.maps import WeightMap
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.storage import digests
from stylekit.storage.paths import ROOT
from stylekit.styles import StyleLibrary
from stylekit.stylizer import Stylizer
from training import push, train_dreambooth
from training.loop import config, loop
from training.objective import perceptual
from training.style import dreambooth, style_run
from training.style.class_pictures import class_pictures
from training.style.dreambooth_settings import DreamBoothTraining, defaults

PHOTOS = ROOT / "assets" / "photos"
SMALL = {
    "style": "fog-dreambooth",
    "resolution": 64,
    "batch": 1,
    "steps": 4,
    "lr": 2e-3,
    "t_min": 4,
    "t_max": 12,
    "limit": 2,
    "held_out": 0,
    "views": 1,
    "class_count": 2,
    "save_every": 2,
    "sample_every": 0,
    "previews": False,
    "precision": "no",
    "track": "none",
    "device": "cpu",
}


def settings(folder: Path, **changes: object) -> DreamBoothTraining:
    values = {
        "out": folder / "styles" / "fog-dreambooth" / "pocket",
        "work": folder / "work",
        "modules": "attn1,attn2,up_blocks.2",
        **SMALL,
    }
    if "style_pictures" not in changes:
        values |= {"photos": PHOTOS, "targets": "procedure:sketch"}
    return DreamBoothTraining(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dreambooth")


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    """The file of a short run on the pocket base."""
    return train_dreambooth.train(settings(folder))


@pytest.fixture(scope="module")
def fog(folder: Path, trained: Path) -> Stylizer:
    """The pocket base in float32 with the trained style in its library, and its LoRA's twin."""
    base = Base.open(device="cpu", dtype=torch.float32)
    shipped = StyleLibrary.open()["sketch"]
    return Stylizer(base, StyleLibrary(styles=(*StyleLibrary.open(folder / "styles"), shipped)))


@pytest.fixture
def unet() -> torch.nn.Module:
    """A pocket UNet of one's own."""
    return Base.open(device="cpu", dtype=torch.float32).unet


def random_delta(unet: torch.nn.Module, modules: str, size: float = 0.02, name: str = "mist", **changes: object) -> Delta:
    """A difference to every parameter that DreamBooth would train with `modules`."""
    chosen = settings(Path(), modules=modules)
    generator = torch.Generator().manual_seed(0)
    tensors = {
        key: (size * p.abs().mean() * torch.randn(p.shape, generator=generator)).half()
        for key, p in unet.named_parameters()
        if chosen.trains(key)
    }
    values = {"tensors": tensors, "instance": None, "base": POCKET, "base_digest": deltas.base_digest(unet), "metadata": {}}
    return Delta(name=name, **(values | changes))  # type: ignore[arg-type]


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(1, 32, 16, 24, generator=generator), torch.randn(1, 8, 64, generator=generator)


def passed(unet: torch.nn.Module) -> torch.Tensor:
    latents, embeds = inputs()
    with torch.inference_mode():
        return unet(latents, 8, encoder_hidden_states=embeds).sample


def test_a_style_in_the_app(fog: Stylizer, trained: Path, photo: Image.Image) -> None:
    card = fog.library["fog-dreambooth"].adapter(POCKET)
    assert (card.kind, card.path) == ("dreambooth", trained.resolve())
    assert "DreamBooth trained on 4 pairs" in card.made
    before = {name: p.clone() for name, p in deltas.parameters(fog.base.unet).items()}
    plain = fog.stylize(photo, Recipe()).image
    pictures = [np.asarray(fog.stylize(photo, Recipe(mix=StyleMix.of("fog-dreambooth"), strength=s)).image, float) for s in (0.3, 0.6, 1.0)]
    far = [np.abs(picture - np.asarray(plain, float)).mean() for picture in pictures]
    assert 0.3 < far[0] < far[1] < far[2]
    assert all(torch.equal(p, before[name]) for name, p in deltas.parameters(fog.base.unet).items())
    apply.eject(fog.base.unet, "fog-dreambooth")
    assert np.array_equal(fog.stylize(photo, Recipe()).image, plain)


def test_the_file_holds_what_was_trained(trained: Path, folder: Path) -> None:
    base = Base.open(device="cpu", dtype=torch.float32)
    tensors = load_file(trained)
    chosen = {f"unet.{name}" for name, _ in base.unet.named_parameters() if settings(folder).trains(name)}
    assert tensors.keys() == chosen | {"instance_embeds"}
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    with safe_open(trained, "pt") as file:
        metadata = file.metadata()
    assert metadata["stylekit_base"] == POCKET
    assert metadata["stylekit_base_digest"] == deltas.base_digest(base.unet)
    assert (tensors["instance_embeds"].float() - base.prompt_embeds()[0]).abs().max() > 0.01
    record = json.loads((trained.parent / "training.json").read_text())
    assert record["terms"]["prior"] > 0
    assert record["settings"]["modules"] == "attn1,attn2,up_blocks.2"


def test_resume_is_bit_for_bit(trained: Path, tmp_path: Path, folder: Path) -> None:
    cut = settings(tmp_path, work=tmp_path / "work", class_pictures=next((folder / "work").glob("class-*")), lr=SMALL["lr"])
    accelerator = loop.open_accelerator(cut, cut.folder)
    base = style_run.open_base(cut, accelerator.device, "no")
    digest = digests.of_weights(base.unet, base.vae)
    found = dreambooth.gather(base, cut, digest, print)
    trainee = dreambooth.prepare(base, cut, found, perceptual.PerceptualLosses(), "no")
    identity = config.identity(cut) | {"base weights": digest, "data": found.digest}
    for done in style_run.training_steps(accelerator, trainee, cut, identity):
        if done.step == 3:  # killed after the checkpoint at 2
            break
    again, whole = load_file(train_dreambooth.train(cut)), load_file(trained)
    assert again.keys() == whole.keys()
    assert all(torch.equal(again[key], whole[key]) for key in whole)


@pytest.mark.parametrize("modules", ["attn1,attn2,up_blocks.2", "all"])
def test_a_map_of_ones_is_the_number_and_half_a_map_is_half_a_picture(unet: torch.nn.Module, modules: str) -> None:
    base = passed(unet)
    apply.inject(unet, random_delta(unet, modules))
    with apply.applied(unet, {"mist": 1.0}):
        number = passed(unet)
    ones = torch.ones(1, 1, 16, 24)
    with apply.applied(unet, {"mist": ones}):
        painted = passed(unet)
    moved = (number - base).abs().mean()
    assert moved > 0.001
    assert (painted - number).abs().mean() < 0.02 * moved  # the regions' normalisation rounds otherwise
    left = ones.clone()
    left[..., 12:] = 0
    with apply.applied(unet, {"mist": left}):
        half = passed(unet)
    change = (half - base).abs().mean((0, 1, 2))
    assert change[:8].mean() > 3 * change[16:].mean()
    assert torch.equal(passed(unet), base)


def test_differences_and_loras_add(unet: torch.nn.Module) -> None:
    delta = random_delta(unet, "attn1,attn2,conv_in")
    lora = lora_file.read_lora(ROOT / "styles" / "sketch" / "pocket" / "pytorch_lora_weights.safetensors", "sketch")
    before = {name: p.clone() for name, p in deltas.parameters(unet).items()}
    apply.inject(unet, delta)
    apply.inject(unet, lora)  # the layers are wrapped now, and the names of their parameters have changed
    assert set(apply.resident(unet)) == {"mist", "sketch"}
    with apply.applied(unet, {"mist": 0.5, "sketch": 0.25}):
        now = {name: p.clone() for name, p in deltas.parameters(unet).items()}
    for module in ("conv_in", "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"):
        down, up = lora.modules[module]
        product = (up.flatten(1) @ down.flatten(1)).view_as(before[f"{module}.weight"]) * lora.alphas[module] / len(down)
        wanted = before[f"{module}.weight"] + 0.5 * delta.tensors[f"{module}.weight"].float() + 0.25 * product
        assert torch.allclose(now[f"{module}.weight"], wanted, atol=1e-5)
    assert all(torch.equal(p, before[name]) for name, p in deltas.parameters(unet).items())
    ones = torch.ones(1, 1, 16, 24)
    with apply.applied(unet, {"mist": 0.5, "sketch": 0.25}):
        fused = passed(unet)
    with apply.applied(unet, {"mist": 0.5 * ones, "sketch": 0.25 * ones}):
        painted = passed(unet)
    assert (painted - fused).abs().mean() < 0.02 * (fused - passed(unet)).abs().mean()
    for name in ("mist", "sketch"):
        apply.eject(unet, name)
    assert apply.resident(unet) == ()
    with pytest.raises(AdapterError, match="mist is not loaded"), apply.applied(unet, {"mist": 1.0}):
        pass


def test_the_prompt_follows_the_weight(unet: torch.nn.Module) -> None:
    neutral, instance = torch.zeros(1, 8, 64), torch.ones(8, 64)
    apply.inject(unet, random_delta(unet, "attn2", instance=instance))
    assert deltas.prompt_embeds(unet, neutral, {}) is neutral
    assert deltas.prompt_embeds(unet, neutral, {"sketch": 1.0, "mist": 0.0}) is neutral
    assert float(deltas.prompt_embeds(unet, neutral, {"mist": 0.25}).mean()) == 0.5
    quarter = torch.zeros(1, 1, 4, 4)
    quarter[..., :1] = 0.25
    assert float(deltas.prompt_embeds(unet, neutral, {"mist": quarter}).mean()) == 0.5  # what is left alone does not weaken it
    other = torch.zeros(1, 1, 4, 4)
    other[..., 1:2] = 0.25
    assert float(deltas.prompt_embeds(unet, neutral, {"mist": quarter, "sketch": other}).mean()) == 0.25
    for weight in (0.5, 1.0, 2.0):
        assert torch.equal(deltas.prompt_embeds(unet, neutral, {"mist": weight})[0], instance)


def test_painted_in_the_app(fog: Stylizer, photo: Image.Image) -> None:
    left = np.zeros((100, 150), np.float32)
    left[:, :75] = 1
    mix = StyleMix(weights=(("fog-dreambooth", WeightMap.of(left)), ("sketch", 0.0)))
    result = np.asarray(fog.stylize(photo, Recipe(mix=mix, feather=0.0)).image, float)
    change = np.abs(result - np.asarray(photo, float)).mean((0, 2))
    assert change[:60].mean() > 1
    assert change[90:].max() == 0


def test_another_base_is_refused(trained: Path, unet: torch.nn.Module) -> None:
    delta = deltas.read_delta(trained, "fog")
    with torch.no_grad():
        unet.conv_in.weight.add_(0.01)
    with pytest.raises(AdapterError, match="difference to the weights of pocket, and this base has others: open pocket"):
        apply.inject(unet, delta)
    other = dataclasses.replace(delta, tensors={"down_blocks.9.weight": torch.ones(2)})
    with pytest.raises(AdapterError, match=r"does not fit this base: it changes down_blocks\.9\.weight .* has none"):
        apply.inject(unet, other)
    wrong = dataclasses.replace(delta, tensors={"conv_in.weight": torch.ones(2)})
    with pytest.raises(AdapterError, match="where this base has"):
        apply.inject(unet, wrong)
    assert apply.resident(unet) == ()


def test_bad_files_are_told(trained: Path, tmp_path: Path) -> None:
    tensors = load_file(trained)
    with safe_open(trained, "pt") as file:
        metadata = file.metadata()
    path = tmp_path / "a.safetensors"

    def refused(match: str) -> None:
        with pytest.raises(AdapterError, match=match):
            deltas.read_delta(path)

    refused("does not exist")
    path.write_bytes(trained.read_bytes()[:5000])
    refused("cannot be read")
    save_file(tensors, path)
    refused("no DreamBooth file of stylekit's")
    save_file(tensors | {"vae.x": torch.ones(1)}, path, metadata)
    refused("'vae.x', which cannot be used")
    save_file({"instance_embeds": tensors["instance_embeds"]}, path, metadata)
    refused("changes no weights")
    broken = {key: torch.full_like(t, torch.nan) if "conv" in key else t for key, t in tensors.items()}
    save_file(broken, path, metadata)
    refused("NaN or infinite")
    with pytest.raises(AdapterError):
        lora_file.read_lora(trained)
    assert isinstance(apply.read_adapter(trained), Delta)


def test_class_pictures_are_filled_up_and_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = Base.open(device="cpu", dtype=torch.float32)
    folder = tmp_path / "class"
    folder.mkdir()
    Image.open(PHOTOS / "coffee.jpg").convert("RGB").resize((128, 128)).save(folder / "mine.png")
    (folder / "broken.png").write_bytes(b"no picture")
    mine = (folder / "mine.png").read_bytes()
    chosen = settings(tmp_path, class_pictures=folder, class_count=4)
    photos = sorted(PHOTOS.glob("*.jpg"))[:2]
    made: list[int] = []
    stylize = Stylizer.stylize

    def stopped(self: Stylizer, photo: Image.Image, recipe: Recipe) -> object:
        made.append(recipe.seed)
        if len(made) == 2:
            raise KeyboardInterrupt
        return stylize(self, photo, recipe)

    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(Stylizer, "stylize", stopped)
        with pytest.raises(KeyboardInterrupt):
            class_pictures(base, chosen, "x", photos, said.append)
    first = (folder / "class-000000.png").read_bytes()
    paths, side, embeds = class_pictures(base, chosen, "x", photos, said.append)
    assert [path.name for path in paths] == ["class-000000.png", "class-000001.png", "class-000002.png", "mine.png"]
    assert ((folder / "mine.png").read_bytes(), (folder / "class-000000.png").read_bytes()) == (mine, first)
    assert Image.open(paths[1]).size == (side, side) == (128, 128)
    assert torch.equal(embeds, base.prompt_embeds()[0])
    assert any("broken.png" in text for text in said)
    assert said[-1].startswith("2 class pictures in")
    said.clear()
    assert class_pictures(base, chosen, "x", photos, said.append)[0] == paths
    assert not [text for text in said if "makes" in text]


def test_prior_preservation_keeps_the_base(tmp_path: Path) -> None:
    """Under the neutral prompt a model trained beside class pictures stays nearer to the base than one trained without."""
    base = Base.open(device="cpu", dtype=torch.float32)
    latents = base.encode(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    neutral = base.prompt_embeds()
    wanted = base.denoise(latents, 8, neutral)
    far = {}
    for weight in (0.0, 4.0):
        path = train_dreambooth.train(
            settings(tmp_path / str(weight), prior_weight=weight, steps=8, save_every=8, schedule="linear", work=tmp_path / str(weight))
        )
        apply.inject(base.unet, deltas.read_delta(path, "fog"))
        with apply.applied(base.unet, {"fog": 1.0}):
            far[weight] = float((base.denoise(latents, 8, neutral) - wanted).square().mean())
        apply.eject(base.unet, "fog")
    assert not list((tmp_path / "0.0").glob("class-*"))
    assert far[4.0] < 0.8 * far[0.0]


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("sd15"), REDUCED)


@pytest.mark.parametrize("words", [False, True])
def test_the_classic_way_on_stable_diffusion(
    sd15: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: Image.Image, words: bool
) -> None:
    monkeypatch.setenv("STYLEKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("training.style.class_pictures.NUM_INFERENCE_STEPS", 2)
    chosen = settings(
        tmp_path,
        base=str(sd15),
        style_pictures=PHOTOS,
        out=tmp_path / "styles" / "fog-dreambooth" / "sd15",
        modules="attention",
        steps=2,
        lr=5e-3,
        class_count=1,
        t_min=0,
        t_max=999,
        full=tmp_path / "full",
        train_text_encoder=words,
    )
    path = train_dreambooth.train(chosen)
    tensors = load_file(path)
    assert sum(".attn" in key for key in tensors) == len(tensors) - 1 > 0
    assert "instance_embeds" in tensors
    base = Base.open(str(sd15), device="cpu", dtype=torch.float32)
    own = base.prompt_embeds("sks style painting")[0]
    assert tensors["instance_embeds"].shape == own.shape == (77, 64)
    assert torch.allclose(tensors["instance_embeds"].float(), own, atol=2e-3) != words
    stylizer = Stylizer(base, StyleLibrary.open(tmp_path / "styles"))
    recipe = Recipe(base=str(sd15), strength=0.5, num_inference_steps=2, mix=StyleMix.of("fog-dreambooth"))
    tuned = np.asarray(stylizer.stylize(photo, recipe).image, float)
    plain = np.asarray(stylizer.stylize(photo, recipe.with_(mix=StyleMix())).image, float)
    assert np.abs(tuned - plain).mean() > 0.5
    full = Base.open(str(tmp_path / "full"), device="cpu", dtype=torch.float32)
    alone = Stylizer(full, StyleLibrary(styles=()))
    said = np.asarray(alone.stylize(photo, recipe.with_(base=full.name, mix=StyleMix(), prompt="sks style painting")).image, float)
    assert np.abs(said - tuned).mean() < 0.1 * np.abs(tuned - plain).mean()  # the difference was rounded to float16
    made = list((tmp_path / "work").glob("class-*/class-*.png"))
    assert len(made) == 1
    assert Image.open(made[0]).size == (64, 64)


def test_a_whole_pocket_base_has_the_style_without_asking(
    tmp_path: Path, folder: Path, trained: Path, fog: Stylizer, photo: Image.Image
) -> None:
    base = Base.open(device="cpu", dtype=torch.float32)
    delta = deltas.read_delta(trained)
    learned = dreambooth.LearnedPrompt(delta.instance, 0)  # type: ignore[arg-type]
    with torch.no_grad():
        learned.embeds.copy_(delta.instance)  # type: ignore[arg-type]
    whole = dreambooth.write_full(base, {k: t.float() for k, t in delta.tensors.items()}, learned, tmp_path / "whole")
    alone = Stylizer(Base.open(str(whole), device="cpu", dtype=torch.float32), StyleLibrary(styles=()))
    ours = np.asarray(fog.stylize(photo, Recipe(mix=StyleMix.of("fog-dreambooth"))).image, float)
    theirs = np.asarray(alone.stylize(photo, Recipe(base=str(whole))).image, float)
    assert np.abs(ours - theirs).mean() < 0.05


def test_mistakes_are_told_in_one_sentence(
    sd15: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STYLEKIT_CACHE", str(tmp_path / "cache"))
    for changes, word in (
        ({"modules": "attn1,,x"}, "choose attention, all"),
        ({"class_count": 0}, "class_count is 0"),
        ({"prior_weight": -1.0}, "prior_weight is -1"),
    ):
        with pytest.raises(SettingError, match=word):
            settings(tmp_path, **changes)
    with pytest.raises(SettingError, match="names nothing in this base's UNet"):
        train_dreambooth.train(settings(tmp_path, modules="attn7", prior_weight=0.0))
    with pytest.raises(SettingError, match="trigger is not set"):
        train_dreambooth.train(settings(tmp_path, base=str(sd15), style_pictures=PHOTOS, trigger=None, prior_weight=0.0))
    with pytest.raises(SettingError, match="has no text encoder: leave it out"):
        train_dreambooth.train(settings(tmp_path, train_text_encoder=True, prior_weight=0.0))
    (tmp_path / "full").mkdir()
    with pytest.raises(SettingError, match="full exists"):
        train_dreambooth.train(settings(tmp_path, full=tmp_path / "full"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(StyleError, match="is not a folder"):
        train_dreambooth.train(settings(tmp_path, class_pictures=tmp_path / "file"))
    assert train_dreambooth.main(["--style", "a", "--photos", "nowhere", "--targets", "procedure:sketch", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith("train_dreambooth: nowhere is not a folder: name a folder of training photos with --photos.\n")


def test_defaults_suit_the_base() -> None:
    def parse(*flags: str) -> DreamBoothTraining:
        return config.parse(DreamBoothTraining, ["--style", "a", "--out", "o", *flags], "x", "y", defaults)

    sd = parse("--base", "stable-diffusion-v1-5/stable-diffusion-v1-5", "--style-pictures", "s")
    assert (sd.mode, sd.modules, sd.lr, sd.steps, sd.batch, sd.schedule, sd.trigger) == (
        *("style", "attention", 5e-6, 1000, 1, "constant"),
        "sks style painting",
    )
    assert sd.trains("mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight")
    assert not sd.trains("conv_in.weight")
    pocket = parse("--photos", "p", "--targets", "procedure:sketch")
    assert (pocket.mode, pocket.resolution, pocket.t_max) == ("pairs", 256, 12)
    assert pocket.trains("conv_in.weight")
    paths = sorted((ROOT / "training" / "configs" / "pocket" / "dreambooth").glob("*.yaml"))
    assert [path.stem for path in paths] == ["popart", "sketch"]
    for path in paths:
        got = config.parse(DreamBoothTraining, ["--config", str(path), "--out", "o", "--photos", "p"], "x", "y", defaults)
        assert got.style == f"{path.stem}-dreambooth"


def test_what_is_pushed_is_the_same_style(fog: Stylizer, folder: Path, trained: Path, tmp_path: Path, photo: Image.Image) -> None:
    style = fog.library["fog-dreambooth"]
    for name, content in push.package(style, style.adapter(POCKET), "me/fog").items():
        (tmp_path / name).write_bytes(content)
    assert load_file(tmp_path / trained.name).keys() == load_file(trained).keys()
    assert "A DreamBooth adapter for stylekit's pocket base" in (tmp_path / "README.md").read_text()
    pulled = hub.open_style(tmp_path)
    assert pulled.adapter(POCKET).kind == "dreambooth"
    fog.add(pulled)
    ours, theirs = (fog.stylize(photo, Recipe(mix=StyleMix.of(name))).image for name in (style.name, pulled.name))
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["popart", "sketch"])
def test_the_twins_of_the_repository(stylizer: Stylizer, photo: Image.Image, name: str) -> None:
    """They paint as their LoRAs do; without its prompt the tuned base is still the base; their files are small."""
    twin = stylizer.library[f"{name}-dreambooth"]
    names = [style.name for style in stylizer.library]
    assert names.index(twin.name) == names.index(name) + 1  # side by side in the picker
    assert twin.adapter(POCKET).path.stat().st_size < 9e6
    plain, theirs, ours = (
        np.asarray(stylizer.stylize(photo, Recipe(mix=StyleMix.of(mix) if mix else StyleMix(), hand=False)).image, float)
        for mix in ("", name, twin.name)
    )
    assert np.abs(ours - theirs).mean() < 0.4 * np.abs(ours - plain).mean()
    base = stylizer.base
    latents, neutral = base.encode(to_tensor(photo.resize((96, 64)))), base.prompt_embeds()
    with torch.inference_mode():
        before = base.denoise(latents, 8, neutral)
        with apply.applied(base.unet, {twin.name: 1.0}):
            unasked = base.denoise(latents, 8, neutral)
            asked = base.denoise(latents, 8, deltas.prompt_embeds(base.unet, neutral, {twin.name: 1.0}))
    assert (unasked - before).square().mean() < 0.1 * (asked - before).square().mean()
