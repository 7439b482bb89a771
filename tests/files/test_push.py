"""A style is pushed whole, in one commit, and nothing else; pulled into a clean cache it paints the same picture."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard, constants
from PIL import Image
from safetensors.torch import load_file, save_file

from stylekit import hub
from stylekit.adapters import apply, convert, deltas, lora_file
from stylekit.errors import SettingError, StyleError
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.storage.paths import POCKET_FOLDER, STYLES_FOLDER
from stylekit.styles import StyleLibrary
from stylekit.stylizer import Stylizer
from tests import hub_server
from tests.hub_server import TOKEN, Hub
from training import push
from training.style.settings import StyleTraining

REPO = "me/monet"
PAINTINGS = {"painting-1.jpg", "painting-2.jpg"}  # of the card's adapter for Stable Diffusion
FILES = {"README.md", "style.toml", "before.jpg", "preview.jpg", "dial.jpg", lora_file.WEIGHTS_FILE} | PAINTINGS
TRAINING = {
    "mode": "pairs",
    "items": 280,
    "seconds": 61.5,
    "held_out": {"l2": 0.125},
    "sources": "secret",
    "settings": {"steps": 1400, "rank": 10, "trigger": "monet style", "photos": "holiday", "work": "private-work"},
}


@pytest.fixture
def monet(tmp_path: Path) -> Path:
    """A style's folder as training leaves it, with much beside it that is nobody's business."""
    folder = tmp_path / "styles" / "monet"
    shutil.copytree(STYLES_FOLDER / "monet", folder)
    (folder / "pocket" / "training.json").write_text(json.dumps(TRAINING))
    for name in (".env", "token", "optimizer.pt", "pocket/step-000100.pt", "pocket/metrics.jsonl", "photos/me.jpg", "notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(TOKEN)
    return folder


def run(*argv: object) -> int:
    return push.main([str(word) for word in argv])


@pytest.mark.slow
def test_push_then_pull_into_a_clean_cache_paints_the_same(
    server: Hub, monet: Path, tmp_path: Path, stylizer: Stylizer, photo: Image.Image, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monet, "--repo", REPO) == 0
    assert "8 files" in capsys.readouterr().out
    own = Stylizer(stylizer.base, StyleLibrary.open(monet.parent))
    recipe = Recipe(mix=StyleMix.of("monet"), size=128, seed=3)
    local = own.stylize(photo, recipe).image
    apply.eject(stylizer.base.unet, "monet")

    style = hub.pull(REPO, cache=tmp_path / "clean")
    own.add(style)
    again = own.stylize(photo, recipe.with_(mix=StyleMix.of(style.name))).image
    apply.eject(stylizer.base.unet, style.name)
    assert again.tobytes() == local.tobytes()
    ours, theirs = StyleLibrary.open(monet.parent)["monet"], style
    assert (theirs.title, theirs.blurb, theirs.period, theirs.license) == (ours.title, ours.blurb, ours.period, ours.license)
    assert theirs.adapters[0].underpainting == ours.adapters[0].underpainting
    assert theirs.preview
    assert theirs.dial
    assert theirs.preview.read_bytes() == ours.preview.read_bytes()  # type: ignore[union-attr]


def test_a_style_that_is_only_drawn_goes_there_and_back(
    server: Hub, tmp_path: Path, stylizer: Stylizer, photo: Image.Image, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(STYLES_FOLDER / "charcoal", "--repo", "me/charcoal") == 0
    assert "5 files" in capsys.readouterr().out
    assert run(STYLES_FOLDER / "charcoal", "--repo", "me/charcoal", "--base", "pocket") == 2
    assert "0 such adapters" in capsys.readouterr().err
    ours = StyleLibrary.open(STYLES_FOLDER)["charcoal"]
    style = hub.pull("me/charcoal", cache=tmp_path / "clean")
    assert style.hand == ours.hand
    assert (style.title, style.drawn, style.license) == (ours.title, ours.drawn, ours.license)
    own = Stylizer(stylizer.base, StyleLibrary.open(STYLES_FOLDER))
    recipe = Recipe(mix=StyleMix.of("charcoal"), size=128, seed=3)
    local = own.stylize(photo, recipe).image
    own.add(style)
    assert own.stylize(photo, recipe.with_(mix=StyleMix.of(style.name))).image.tobytes() == local.tobytes()
    card = ModelCard(server.repos["models", "me/charcoal"].files["README.md"].decode())
    assert card.data.library_name == "stylekit"
    assert card.data.base_model is None
    assert "without weights" in card.text


def test_a_dreambooth_style_goes_there_and_back_too(server: Hub, tmp_path: Path, stylizer: Stylizer, photo: Image.Image) -> None:
    folder, unet = tmp_path / "styles" / "fog", stylizer.base.unet
    change = {"conv_out.bias": torch.full_like(unet.conv_out.bias, 0.2)}
    deltas.write_delta(folder / deltas.DELTA_FILE, change, None, deltas.base_digest(unet), {deltas.BASE_KEY: "pocket"})
    (folder / "style.toml").write_text(
        'title = "Fog"\nblurb = "b"\nlicense = "MIT"\n[[adapters]]\nbase = "pocket"\nkind = "dreambooth"\n'
        f'file = "{deltas.DELTA_FILE}"\nmade = "m"\ndata = "d"\ntrigger = "fog art"\n'
    )
    assert run(folder, "--repo", "me/fog") == 0
    files = server.repos["models", "me/fog"].files
    assert set(files) == {".gitattributes", "README.md", "style.toml", deltas.DELTA_FILE}
    assert b"A DreamBooth adapter" in files["README.md"]
    assert b"- dreambooth" in files["README.md"]
    own = Stylizer(stylizer.base, StyleLibrary.open(folder.parent))
    style = hub.pull("me/fog", cache=tmp_path / "clean")
    own.add(style)
    recipe = Recipe(mix=StyleMix.of("fog"), size=96, num_inference_steps=1)
    local, again, plain = (own.stylize(photo, recipe.with_(mix=StyleMix.of(mix))).image for mix in ("fog", style.name, {}))
    for name in ("fog", style.name):
        apply.eject(unet, name)
    assert again.tobytes() == local.tobytes() != plain.tobytes()

    other = folder / deltas.DELTA_FILE
    deltas.write_delta(other, {"no.such": torch.ones(2)}, None, "x", {})
    server.add("me/bad", files | {deltas.DELTA_FILE: other.read_bytes()})
    with pytest.raises(StyleError, match="does not fit the base pocket"):
        hub.pull("me/bad", cache=tmp_path / "clean")


def test_one_commit_with_the_listed_files_and_nothing_else(server: Hub, monet: Path) -> None:
    assert run(monet, "--repo", REPO) == 0
    repo = server.repos["models", REPO]
    assert [message for _, message, _ in repo.commits] == ["initial commit", "Monet, by stylekit"]
    assert set(repo.files) == FILES | {".gitattributes"}
    whole = b"".join(repo.files.values())
    for private in (TOKEN, "holiday", "private-work", str(monet), "secret"):
        assert private.encode() not in whole


def test_the_model_card_says_what_the_hub_and_people_need(server: Hub, monet: Path, tmp_path: Path) -> None:
    run(monet, "--repo", REPO)
    (tmp_path / "README.md").write_bytes(server.repos["models", REPO].files["README.md"])
    card = ModelCard.load(tmp_path / "README.md")
    data = card.data.to_dict()
    assert data["library_name"] == "diffusers"
    assert data["license"] == "mit"
    assert data["pipeline_tag"] == "image-to-image"
    assert {"lora", "diffusers", "style-transfer"} <= set(data["tags"])
    assert data["instance_prompt"] == "monet style"
    assert data["widget"] == [{"text": "monet style", "output": {"url": "preview.jpg"}}]
    assert "base_model" not in data  # the pocket base has no repository
    for words in ("No painting was copied", "260 COCO 2017 photos", "| steps | 1400 |", "| l2 | 0.125 |", "## In plain diffusers"):
        assert words in card.text


def test_the_card_of_an_adapter_for_stable_diffusion(tmp_path: Path) -> None:
    folder = tmp_path / "fog"
    folder.mkdir()
    layer = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    save_file({f"{layer}.lora_A.weight": torch.ones(2, 768), f"{layer}.lora_B.weight": torch.ones(1280, 2)}, folder / "w.safetensors")
    (folder / "style.toml").write_text(
        'title = "Fog"\nblurb = "b"\nlicense = "Weird Licence"\n[[adapters]]\nbase = "stable-diffusion-v1-5/stable-diffusion-v1-5"\n'
        'file = "w.safetensors"\nmade = "m"\ndata = "d"\nscale = 0.8\nmetrics = { "ArtFID" = 28.5 }\n'
    )
    style = push.find_style(str(folder))
    text = push.package(style, style.adapters[0], "me/fog")["README.md"].decode()
    assert "base_model: stable-diffusion-v1-5/stable-diffusion-v1-5" in text
    assert "license: other\nlicense_name: weird-licence" in text
    assert 'set_adapters("fog", 0.8)' in text
    assert "| ArtFID | 28.5 |" in text
    assert "instance_prompt" not in text


@pytest.mark.slow
def test_the_programs_in_the_card_run(
    server: Hub, monet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: Image.Image, root: Path
) -> None:
    run(monet, "--repo", REPO)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "pocket").symlink_to(POCKET_FOLDER)
    photo.resize((64, 64)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    text = server.repos["models", REPO].files["README.md"].decode()
    programs = [part.partition("```")[0] for part in text.split("```python\n")[1:]]
    assert len(programs) == 2
    exec(programs[0], {})
    assert Image.open(tmp_path / "art.png").size == (64, 64)
    names: dict[str, torch.nn.Module] = {}
    exec(programs[1].replace('subfolder="unet"', 'subfolder="unet", torch_dtype="auto"'), names)
    assert any("lora_A" in name for name, _ in names["unet"].named_parameters())


def test_running_it_again_commits_nothing_and_a_change_is_one_more_commit(
    server: Hub, monet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monet, "--repo", REPO)
    server.requests.clear()
    assert run(monet, "--repo", REPO) == 0
    assert "nothing was pushed" in capsys.readouterr().out
    assert len(server.repos["models", REPO].commits) == 2
    assert not any(request.startswith("PUT") for request in server.requests)
    card = monet / "style.toml"
    card.write_text(card.read_text().replace("no black anywhere", "no black at all"))
    assert run(monet, "--repo", REPO) == 0
    assert len(server.repos["models", REPO].commits) == 3


def test_a_drop_mid_upload_is_continued_by_running_it_again(server: Hub, monet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.fail("POST", "/commit/", None, times=1)  # the weights are up, the commit is not
    assert run(monet, "--repo", REPO) == 2
    error = capsys.readouterr().err
    assert "goes on where it stopped" in error
    assert "Traceback" not in error
    assert len(server.repos["models", REPO].commits) == 1
    sent = sum(request.startswith("PUT") for request in server.requests)
    assert run(monet, "--repo", REPO) == 0
    assert sum(request.startswith("PUT") for request in server.requests) == sent  # what was there by then was not sent again
    repo = server.repos["models", REPO]
    assert len(repo.commits) == 2
    assert repo.files[lora_file.WEIGHTS_FILE] == (monet / "pocket" / lora_file.WEIGHTS_FILE).read_bytes()

    (monet / "preview.jpg").write_bytes((STYLES_FOLDER / "popart" / "preview.jpg").read_bytes())
    server.fail("PUT", "/lfs/", None, times=20)  # now within a file
    assert run(monet, "--repo", REPO) == 2
    assert len(repo.commits) == 2
    server.faults.clear()
    assert run(monet, "--repo", REPO) == 0
    assert repo.files["preview.jpg"] == (monet / "preview.jpg").read_bytes()


@pytest.mark.parametrize(
    ("status", "reason"),
    [(401, "wants a token"), (403, "does not allow"), (404, "There is no"), (429, "fewer requests"), (500, "trouble"), (503, "trouble")],
)
@pytest.mark.parametrize("part", ["/api/repos/create", "/preupload/", "/commit/"])
def test_refusals_of_the_hub_are_sentences(
    server: Hub, monet: Path, status: int, reason: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.fail("POST", part, status, times=20)
    assert run(monet, "--repo", REPO) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("push: ")
    assert reason in error
    assert TOKEN not in error


def test_offline_without_a_token_and_on_foreign_ground(
    server: Hub, monet: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(repo: str) -> str:
        assert run(monet, "--repo", repo) == 2
        return capsys.readouterr().err.splitlines()[-1]

    assert "does not allow this token to write to someone/monet" in told("someone/monet")
    assert "write OWNER/NAME" in told("monet")
    monkeypatch.delenv("HF_TOKEN")
    assert "hf auth login" in told(REPO)
    hub_server.aim_client(monkeypatch, "http://127.0.0.1:9")
    assert "cannot be reached" in told(REPO)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "cannot be reached" in told(REPO)


def test_a_private_style_is_not_put_into_a_public_repository(server: Hub, monet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monet, "--repo", REPO, "--private") == 0
    assert server.repos["models", REPO].private
    assert run(monet, "--repo", REPO, "--private") == 0
    server.add("me/open", {"README.md": b""})
    assert run(monet, "--repo", "me/open", "--private") == 2
    assert "already and public" in capsys.readouterr().err
    assert len(server.repos["models", "me/open"].commits) == 1


def test_a_dry_run_shows_everything_and_asks_nobody(server: Hub, monet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monet, "--repo", REPO, "--dry-run") == 0
    out = capsys.readouterr().out
    assert all(name in out for name in FILES)
    assert "library_name: diffusers" in out
    assert server.requests == []


def test_what_is_private_in_texts_metadata_and_pictures_does_not_get_out(
    server: Hub, monet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = monet / "pocket" / lora_file.WEIGHTS_FILE
    tensors, metadata = load_file(weights), lora_file.read_tensors(weights)[1]
    save_file(tensors, weights, metadata=metadata | {"ss_dataset_dirs": "/data/holiday", "ss_output_name": "me"})
    exif = Image.Exif()
    exif[0x010E] = "holiday"
    Image.open(monet / "preview.jpg").save(monet / "preview.jpg", exif=exif)
    run(monet, "--repo", REPO)
    files = server.repos["models", REPO].files
    assert b"holiday" not in b"".join(files.values())
    (monet / "w.safetensors").write_bytes(files[lora_file.WEIGHTS_FILE])
    pushed = load_file(monet / "w.safetensors")
    assert pushed.keys() == tensors.keys()
    assert all(torch.equal(tensor, tensors[key]) for key, tensor in pushed.items())
    assert lora_file.read_tensors(monet / "w.safetensors")[1] == metadata
    assert run(monet, "--repo", REPO) == 0
    assert len(server.repos["models", REPO].commits) == 2  # cleaned the same way each time

    card = (monet / "style.toml").read_text()
    for secret, word in (
        ("/home/me/photos", "path of this machine"),
        (TOKEN, "access token"),
        (r"C:\\\\Users\\\\me", "path of this machine"),
    ):
        (monet / "style.toml").write_text(card.replace("260 COCO", f"{secret} COCO"))
        capsys.readouterr()
        assert run(monet, "--repo", REPO) == 2
        assert word in capsys.readouterr().err
    assert len(server.repos["models", REPO].commits) == 2


def test_what_cannot_be_pushed_is_told(monet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*argv: object) -> str:
        assert run(*argv, "--repo", REPO, "--dry-run") == 2
        return capsys.readouterr().err

    assert "There is no style 'none'" in told("none")
    assert "choose by --base" in told("monet", "--base", "other")
    (monet / "pocket" / "training.json").write_text("{")
    assert "training.json cannot be read" in told(monet)
    (monet / "pocket" / "training.json").unlink()
    (monet / "preview.jpg").write_bytes(b"no picture")
    assert "preview.jpg" in told(monet)
    (monet / "preview.jpg").unlink()
    weights = monet / "pocket" / lora_file.WEIGHTS_FILE
    other = convert.convert(weights, tmp_path / "k.safetensors")
    weights.write_bytes(other.read_bytes())
    assert "kohya's format: convert it first" in told(monet)
    weights.write_bytes(b"nothing")
    assert "cannot be read" in told(monet)


def test_training_can_push_at_its_end(server: Hub, monet: Path) -> None:
    assert StyleTraining.__dataclass_fields__["push_to_hub"].metadata["free"]
    said = push.push_trained(monet / "style.toml", monet / "pocket" / lora_file.WEIGHTS_FILE, REPO)
    assert "8 files" in said
    with pytest.raises(StyleError, match="is written, but was not pushed"):
        push.push_trained(monet / "style.toml", monet / "pocket" / "other.safetensors", REPO)
    server.fail("POST", "/api/repos/create", 503, times=9)
    with pytest.raises(StyleError, match=r"is written, but was not pushed. The Hub has trouble"):
        push.push_trained(monet / "style.toml", monet / "pocket" / lora_file.WEIGHTS_FILE, REPO)
    with pytest.raises(SettingError, match="OWNER/NAME"):
        push.check_repo("monet")
