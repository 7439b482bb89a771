"""Styles from the Hub, folders and files: fetched once, then there without a network, and refused with the reason."""

from __future__ import annotations

import gc
import json
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import save

from stylekit import hub
from stylekit.adapters import apply, convert, families, lora_file, lora_weights
from stylekit.base import Base
from stylekit.errors import AdapterError, BaseError, StyleError
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.storage.paths import STYLES_FOLDER
from stylekit.styles import StyleLibrary
from stylekit.stylizer import Stylizer
from tests import hub_server
from tests.hub_server import Hub

WEIGHTS = STYLES_FOLDER / "sketch" / "pocket" / lora_file.WEIGHTS_FILE
CARD = 'title = "Fog"\nblurb = "b"\nlicense = "MIT"\n[[adapters]]\nbase = "pocket"\nfile = "{file}"\nmade = "m"\ndata = "d"\n'
TINY: dict[str, Any] = {  # a UNet of few layers, where a cycle takes no time
    "block_out_channels": (32,),
    "down_block_types": ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",),
    "layers_per_block": 1,
    "cross_attention_dim": 8,
}
LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with hub_server.serve() as running:
        hub_server.aim_client(monkeypatch, running.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield running


def lora_bytes(width: int = 320, text: int = 768, layer: str = LAYER, rank: int = 4, value: float = 0.5) -> bytes:
    """A LoRA of one layer, of Stable Diffusion 1.x's shapes unless told otherwise."""
    down, up = torch.full((rank, text), value), torch.full((width, rank), value)
    return save({f"unet.{layer}.lora_A.weight": down, f"unet.{layer}.lora_B.weight": up})


def test_a_style_is_pulled_with_its_card_and_is_there_without_a_network(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    card = CARD.format(file="pocket/w.safetensors").replace("blurb", 'preview = "p.jpg"\nbefore = "gone.jpg"\nblurb')
    picture = (STYLES_FOLDER / "sketch" / "preview.jpg").read_bytes()
    repo = server.add(
        "me/fog", {"style.toml": card.encode(), "pocket/w.safetensors": WEIGHTS.read_bytes(), "p.jpg": picture, "x.bin": b"x"}
    )
    said: list[tuple[str, float]] = []
    style = hub.pull("me/fog", say=lambda text, done: said.append((text, done)))
    assert (style.name, style.title, style.source) == ("me--fog", "Fog", f"me/fog@{repo.commits[0][0]}")
    assert style.preview
    assert style.preview.read_bytes() == picture
    assert style.before is None  # named by the card, but not there
    assert style.adapter("pocket").path.read_bytes() == WEIGHTS.read_bytes()
    assert any("p.jpg" in request for request in server.requests)
    assert not any("x.bin" in request for request in server.requests)
    assert said[0] == ("Looking at me/fog", 0.0)
    assert any(text.startswith("Fetching me/fog") and done > 0 for text, done in said)

    server.requests.clear()
    assert hub.pull("me/fog") == style
    assert not any("resolve" in request for request in server.requests)  # nothing is fetched twice
    hub_server.aim_client(monkeypatch, "http://127.0.0.1:9")  # nobody listens there
    assert hub.pull("me/fog") == style
    with pytest.raises(hub.HubError, match=r"cannot be reached, and me/mist is not in the cache"):
        hub.pull("me/mist")


def test_a_revision_is_another_style(server: Hub) -> None:
    repo = server.add("me/fog", {"a.safetensors": WEIGHTS.read_bytes()})
    first = repo.commits[0][0]
    repo.commit("again", {"a.safetensors": (STYLES_FOLDER / "ukiyoe" / "pocket" / lora_file.WEIGHTS_FILE).read_bytes()})
    old, new = hub.pull(f"me/fog@{first}"), hub.pull("me/fog")
    assert (old.name, new.name) == (f"me--fog@{first}", "me--fog")
    assert old.adapter("pocket").path.read_bytes() != new.adapter("pocket").path.read_bytes()
    StyleMix.of({old.name: 0.5, new.name: 0.5})  # both can stand in a recipe


def test_a_repository_without_a_card_is_told_by_its_model_card_and_its_shapes(server: Hub) -> None:
    card = b"---\nlicense: cc0-1.0\nbase_model: runwayml/stable-diffusion-v1-5\ninstance_prompt: fog art\n---\n# Fog\n"
    server.add("me/some_fog", {"README.md": card, lora_file.WEIGHTS_FILE: lora_bytes(), "other.safetensors": b""})
    style = hub.pull("me/some_fog")
    (adapter,) = style.adapters
    assert (style.title, style.license) == ("Some fog", "cc0-1.0")
    assert (adapter.base, adapter.trigger) == (hub.SD15, "fog art")
    server.add("me/bare", {"a.safetensors": WEIGHTS.read_bytes()})
    assert hub.pull("me/bare").adapters[0].base == "pocket"
    # bases of one layout share their adapters
    assert style.adapter("someone/another-sd15") is adapter
    with pytest.raises(StyleError, match="no adapter for the base pocket"):
        style.adapter("pocket")


def test_kohyas_format_and_its_alpha(server: Hub) -> None:
    layer = "lora_unet_" + LAYER.replace(".", "_")
    tensors = {f"{layer}.lora_down.weight": torch.ones(4, 768), f"{layer}.lora_up.weight": torch.ones(320, 4)}
    server.add("me/a", {"a.safetensors": save(tensors)})
    server.add("me/b", {"b.safetensors": save(tensors | {f"{layer}.alpha": torch.tensor(1.0)})})
    for name, alpha in (("me/a", 4.0), ("me/b", 1.0)):  # missing, it is the rank
        (adapter,) = hub.pull(name).adapters
        assert adapter.base == hub.SD15
        assert lora_file.read_lora(adapter.path).alphas == {LAYER: alpha}
    server.add("me/c", {"c.safetensors": lora_bytes()})
    assert lora_file.read_lora(hub.pull("me/c").adapters[0].path).alphas == {LAYER: 4.0}


def malformed(header: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header


REFUSED = {
    "match nothing": (lora_bytes(layer="no.such.layer"), "none match Stable Diffusion 1.x"),
    "match partly": (
        save({**{f"unet.{m}.lora_{h}.weight": torch.ones(*s) for m in (LAYER, "x.y") for h, s in (("A", (2, 768)), ("B", (320, 2)))}}),
        "Of the 2 layers of the adapter a only 1 match Stable Diffusion 1.x, which lacks x.y",
    ),
    "kohya matching nothing": (save({"lora_unet_x_y.lora_down.weight": torch.ones(2, 4)}), "none match"),
    "unknown naming": (save({"diffusion_model.x.diff": torch.ones(2, 4)}), "no LoRA weight of a UNet"),
    "another shape": (lora_bytes(width=100), "does not fit Stable Diffusion 1.x"),
    "Stable Diffusion 2": (lora_bytes(text=1024), "is for Stable Diffusion 2"),
    "Stable Diffusion XL": (lora_bytes(text=2048), "is for Stable Diffusion XL"),
    "XL by its metadata": (save({"unet.x.lora_A.weight": torch.ones(1, 1)}, {"ss_base_model_version": "sdxl_base_v1-0"}), "Diffusion XL"),
    "NaN": (lora_bytes(value=float("nan")), "NaN or infinite"),
    "infinity": (lora_bytes(value=float("inf")), "NaN or infinite"),
    "absurd rank": (lora_bytes(rank=4096), "has rank 4096"),
    "rank 0": (lora_bytes(rank=0), "has rank 0"),
    "empty": (b"", r"a.safetensors is empty \(0 bytes\)"),
    "no header": (b"\xff" * 64, "cannot be read"),
    "huge header": (struct.pack("<Q", 10**12) + b"{}", "cannot be read"),
    "not JSON": (malformed(b"{nonsense}"), "cannot be read"),
    "truncated": (WEIGHTS.read_bytes()[:-1000], "cannot be read"),
    "overlapping": (
        malformed(json.dumps({k: {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]} for k in "ab"}).encode()) + b"1234",
        "cannot be read",
    ),
    "pickle under another name": (pickle.dumps({"a": 1}), "cannot be read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_adapters_that_cannot_be_used_are_refused_with_the_reason(server: Hub, tmp_path: Path, case: str) -> None:
    content, reason = REFUSED[case]
    server.add("me/bad", {"a.safetensors": content})
    with pytest.raises(AdapterError, match=reason):
        hub.pull("me/bad")
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(AdapterError, match=reason):
        hub.open_style(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"a.bin": b"x", "b.ckpt": b"x"}, "only as pickle"),
        ({"README.md": b"hello"}, "holds no adapter"),
        ({"model_index.json": b"{}", "unet/model.safetensors": b""}, "is a base, not an adapter"),
        ({"a.safetensors": b"", "b.safetensors": b""}, "several adapters"),
        ({"sub/a.safetensors": b""}, "holds no adapter"),
        ({"style.toml": CARD.format(file="../../../etc/a.safetensors").encode()}, "outside its folder"),
        ({"style.toml": CARD.format(file="/etc/a.safetensors").encode()}, "outside its folder"),
        ({"style.toml": CARD.format(file="a.safetensors").encode()}, "lacks the adapter a.safetensors"),
        ({"style.toml": CARD.format(file="a.bin").encode(), "a.bin": pickle.dumps(1)}, "not a .safetensors file"),
        ({"style.toml": b"title = 3\n"}, "no text"),
        ({"style.toml": b"#" * 300_000}, "is 300 KB: a style card has 262 KB at the most"),
        ({"style.toml": b'title = "t"\nblurb = "b"\nlicense = "m"\n'}, "names no adapter"),
        # a card that says pocket over weights for another base
        (
            {"style.toml": CARD.format(file="a.safetensors").encode(), "a.safetensors": lora_bytes()},
            "match the base pocket|fit the base pocket",
        ),
    ],
)
def test_repositories_that_cannot_be_used_are_refused_with_the_reason(server: Hub, files: dict[str, bytes], reason: str) -> None:
    server.add("me/bad", files)
    with pytest.raises(StyleError, match=reason):
        hub.pull("me/bad")
    assert any("me/bad" in request for request in server.requests)
    assert not any("etc" in request for request in server.requests)


def test_a_file_that_is_too_large_is_not_even_fetched(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora_file, "MAX_BYTES", 1000)
    server.add("me/big", {"a.safetensors": bytes(2000)})
    with pytest.raises(AdapterError, match="is 2 KB: an adapter of its kind has 1 KB at the most"):
        hub.pull("me/big")
    assert any("me/big" in request for request in server.requests)
    assert not any("a.safetensors" in request for request in server.requests)


def test_sizes_are_known_before_anything_is_fetched(server: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(hub, "MODEL_CARD_BYTES", 1000)
    head = b"---\nlicense: cc0-1.0\n---\n"
    server.add("me/fog", {"a.safetensors": WEIGHTS.read_bytes(), "README.md": head + b"x" * 2000})
    style = hub.pull("me/fog")
    assert style.license == hub.NOT_STATED
    assert "README.md is 2 KB, and is not read" in caplog.text
    server.add("me/big", {"style.toml": b"#" * 300_000, "a.safetensors": WEIGHTS.read_bytes()})
    with pytest.raises(AdapterError, match=r"me/big/style.toml is 300 KB"):
        hub.pull("me/big")
    monkeypatch.setattr(hub, "MOST_BYTES", 1000)
    with pytest.raises(AdapterError, match=r"me/fog is .* a style has 1 KB at the most"):
        hub.pull("me/fog")
    assert not any("resolve" in request and request.endswith((".md", ".toml")) for request in server.requests)


def test_a_file_that_a_card_names_often_is_fetched_and_read_once(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = CARD.format(file="a.safetensors")[CARD.index("[[") :]
    server.add("me/fog", {"style.toml": (CARD.format(file="a.safetensors") + entry * 40).encode(), "a.safetensors": WEIGHTS.read_bytes()})
    read = []
    real = hub.read_weights
    monkeypatch.setattr(hub, "read_weights", lambda adapter, name: (read.append(adapter.path), real(adapter, name))[1])
    assert len(hub.pull("me/fog").adapters) == 41
    assert len(read) == 1
    assert len([request for request in server.requests if request.startswith("GET") and request.endswith("a.safetensors")]) == 1
    server.add("me/flood", {"style.toml": (CARD.format(file="a.safetensors") + entry * 3500).encode(), "a.safetensors": b""})
    with pytest.raises(StyleError, match=r"me/flood/style.toml (names 3501 adapters: 64 are the most|is )"):
        hub.pull("me/flood")
    assert not any("flood" in request and "safetensors" in request for request in server.requests)


def test_a_name_is_no_pattern(server: Hub) -> None:
    server.add(
        "me/fog", {"style.toml": CARD.format(file="*.safetensors").encode(), "*.safetensors": WEIGHTS.read_bytes(), "b.safetensors": b""}
    )
    hub.pull("me/fog")
    assert not any("b.safetensors" in request for request in server.requests)


@pytest.mark.slow
def test_hostile_model_cards_say_nothing(server: Hub) -> None:
    heads = [
        "[1, 2]",
        "a: " + "[" * 5000,
        "a: 2024-99-99",
        "a: &a [*a]",
        "? [a]\n: 1",
        "license: {a: 1}",
        "a: 1" + "0" * 5000,
        'license: "\\0"',
    ]
    heads.append(
        "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 10)}]\n" for i in range(9))
    )
    for number, head in enumerate(heads):
        server.add(f"me/fog{number}", {"README.md": f"---\n{head}\n---\n".encode(), "a.safetensors": WEIGHTS.read_bytes()})
        style = hub.pull(f"me/fog{number}")
        assert (style.license, style.adapters[0].base) == (hub.NOT_STATED, "pocket")


def test_bad_cards_of_the_hub_name_the_repository_and_no_folder_of_this_machine(server: Hub, tmp_path: Path) -> None:
    for text in ("title = ", "title = 3", 'title = "t"', CARD.format(file="../x"), CARD.format(file="x" * 300), "a = " + "[" * 5000):
        server.add("me/bad", {"style.toml": text.encode(), "a.safetensors": WEIGHTS.read_bytes()})
        with pytest.raises(StyleError, match=r"me/bad/style.toml") as error:
            hub.pull("me/bad")
        assert str(tmp_path) not in str(error.value)


def test_what_the_hub_answers_is_told_in_a_sentence(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add("me/gated", {"a.safetensors": b""}, gated=True)
    server.add("me/fog", {"a.safetensors": WEIGHTS.read_bytes()})
    server.add("me/secret", {"a.safetensors": WEIGHTS.read_bytes()}, private=True)
    assert hub.pull("me/secret").name == "me--secret"  # with the token
    monkeypatch.delenv("HF_TOKEN")
    for name, reason in {
        "me/gated": "ask for access",
        "me/none": "There is no me/none on the Hub, or it is private",
        "me/fog@nope": "no such revision",
        "fog": "write OWNER/NAME",
        "../fog": "write OWNER/NAME",
        "me/fog@a/b": "write OWNER/NAME",
        "me/..": "me/",
    }.items():
        with pytest.raises(hub.HubError, match=reason):
            hub.pull(name)
    for status, reason in {403: "does not allow", 429: "fewer requests", 500: "trouble", 503: "trouble", 418: "refused"}.items():
        server.fail("GET", "/api/models/me/fog", status, times=10)
        with pytest.raises(hub.HubError, match=reason):
            hub.pull("me/fog")
        server.faults.clear()


def test_a_drop_within_the_download_is_mended_by_trying_again(server: Hub) -> None:
    server.add("me/fog", {"a.safetensors": WEIGHTS.read_bytes()})
    server.fail("GET", "resolve", 503, times=20)
    with pytest.raises(hub.HubError):
        hub.pull("me/fog")
    server.faults.clear()
    assert hub.pull("me/fog").adapters[0].path.read_bytes() == WEIGHTS.read_bytes()


def test_folders_and_files_are_opened_too(tmp_path: Path) -> None:
    style = hub.open_style(STYLES_FOLDER / "monet")
    assert (style.name, style.source) == ("monet", str(STYLES_FOLDER / "monet"))
    file = convert.convert(WEIGHTS, tmp_path / "My Fog.safetensors")
    style = hub.open_style(file)
    assert (style.name, style.adapters[0].base) == ("my-fog", "pocket")
    assert hub.open_style(tmp_path).adapters[0].path == file
    outside = tmp_path / "outside.safetensors"
    outside.symlink_to(WEIGHTS)
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "style.toml").write_text(CARD.format(file="w.safetensors"))
    (tmp_path / "s" / "w.safetensors").symlink_to(WEIGHTS)
    with pytest.raises(StyleError, match="outside its folder"):  # a link out of the folder is followed by nobody
        hub.open_style(tmp_path / "s")
    for missing in (tmp_path / "none", "no/such.safetensors", "none"):
        with pytest.raises(hub.HubError, match="There is no folder or file"):
            hub.open_style(missing)


@pytest.mark.slow
def test_a_pulled_style_paints_and_another_revision_takes_its_place(server: Hub, photo: Image.Image) -> None:
    own = Stylizer(Base.open(), StyleLibrary.open())
    other = (STYLES_FOLDER / "popart" / "pocket" / lora_file.WEIGHTS_FILE).read_bytes()
    repo = server.add("me/fog", {"a.safetensors": WEIGHTS.read_bytes()})
    server.add("me/other", {"a.safetensors": other})

    def paint(source: str) -> bytes:
        style = hub.pull(source)
        own.add(style)
        return own.stylize(photo, Recipe(mix=StyleMix.of(style.name), size=96, num_inference_steps=1)).image.tobytes()

    first = paint("me/fog")
    assert paint("me/fog") == first
    repo.commit("again", {"a.safetensors": other})
    assert paint("me/fog") == paint("me/other") != first


def test_a_built_in_style_is_not_replaced(tmp_path: Path) -> None:
    library = StyleLibrary.open()
    convert.convert(WEIGHTS, tmp_path / "monet.safetensors")
    with pytest.raises(StyleError, match="There is a style monet already"):
        library.plus(hub.open_style(tmp_path / "monet.safetensors"))
    assert len(library.plus(hub.open_style(convert.convert(WEIGHTS, tmp_path / "fog.safetensors")))) == len(library) + 1


@pytest.mark.slow
def test_the_least_recently_used_adapter_goes(photo: Image.Image) -> None:
    own = Stylizer(Base.open(), StyleLibrary.open(), max_resident=2)

    def use(*names: str) -> bytes:
        return own.stylize(
            photo, Recipe(mix=StyleMix.of(dict.fromkeys(names, 0.5)), size=96, num_inference_steps=1, hand=False)
        ).image.tobytes()

    first = use("sketch")
    use("ukiyoe")
    assert set(apply.resident(own.base.unet)) == {"sketch", "ukiyoe"}
    use("sketch")
    use("popart")
    assert set(apply.resident(own.base.unet)) == {"sketch", "popart"}
    use("monet", "vangogh", "ukiyoe")  # a mix of more than the limit is whole
    assert set(apply.resident(own.base.unet)) == {"monet", "vangogh", "ukiyoe"}
    assert use("sketch") == first  # read again, it is the same


@pytest.mark.slow
def test_a_hundred_cycles_leave_nothing_behind() -> None:
    unet = UNet2DConditionModel(**TINY)
    names = [name for name, _ in unet.named_modules()]
    down, up = torch.ones(2, 32, 3, 3), torch.ones(32, 2, 1, 1)
    modules = dict.fromkeys(("mid_block.resnets.0.conv1", "mid_block.resnets.0.conv2"), (down, up))
    lora = lora_weights.LoraWeights(name="fog", modules=modules, alphas=dict.fromkeys(modules, 2.0), metadata={})

    def cycle(times: int) -> tuple[int, int]:
        for _ in range(times):
            apply.inject(unet, lora)
            with apply.applied(unet, {"fog": 1.0}):
                pass
            apply.eject(unet, "fog")
        gc.collect()
        return sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects()), len(gc.get_objects())

    tensors, objects = cycle(3)
    tensors_later, objects_later = cycle(100)
    assert tensors_later <= tensors
    assert objects_later < objects + 100  # one thing kept a cycle would be a hundred
    assert [name for name, _ in unet.named_modules()] == names


def test_what_a_base_needs_is_told_before_it_is_fetched(server: Hub) -> None:
    def base(width: int = 768, **more: bytes) -> dict[str, bytes]:
        config = json.dumps({"cross_attention_dim": width}).encode()
        weights = {f"{part}/diffusion_pytorch_model.safetensors": bytes(size) for part, size in (("unet", 4000), ("vae", 300))}
        others = {"unet/diffusion_pytorch_model.bin": bytes(9000), "unet/diffusion_pytorch_model.fp16.safetensors": bytes(2000)}
        return {"unet/config.json": config, "text_encoder/model.safetensors": bytes(50), **weights, **others, **more}

    repo = server.add("me/sd", base())
    needs = hub.base_needs("me/sd")
    config = len(repo.files["unet/config.json"])
    assert (needs.download, needs.present, needs.license) == (4350, config, hub.NOT_STATED)  # the config was read for the answer
    assert needs.memory == (4000 + config) // 2 + 300
    assert hub.base_needs("pocket").download == 0
    server.add("me/sd2", base(1024))
    server.add("me/xl", base() | {"unet/config.json": b'{"addition_embed_type": "text_time"}'})
    server.add("me/lora", {"a.safetensors": b""})
    server.add("me/large", base() | {"unet/config.json": b"{}" + b" " * 2**21})
    server.add("me/deep", base() | {"unet/config.json": b"[" * 100_000})
    server.add("me/list", base() | {"unet/config.json": b"[1]"})
    server.add("me/pickled", {"unet/config.json": b"{}", "unet/diffusion_pytorch_model.bin": b""})
    for name, reason in {
        "me/sd2": "is a Stable Diffusion 2 base",
        "me/xl": "is a Stable Diffusion XL base",
        "me/large": "unet/config.json of 2.1 MB",
        "me/deep": "unet/config.json of me/deep is nested more than 32 deep",
        "me/list": "unet/config.json of me/list is a list",
        "me/lora": "no base in diffusers layout",
        "me/pickled": "no safetensors for its unet",
        "nonsense": "is not a base",
        "me/none": "There is no me/none",
    }.items():
        with pytest.raises((BaseError, hub.HubError), match=reason):
            hub.base_needs(name)


def test_the_known_pocket_base_is_the_shipped_one() -> None:
    shipped = Base.open().unet.state_dict()
    assert {k: v.shape for k, v in families.known_unets()["pocket"].state_dict().items()} == {k: v.shape for k, v in shipped.items()}
