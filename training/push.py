"""Push a style to the Hugging Face Hub: its adapter, pictures and cards, in one commit.

    python -m training.push STYLE --repo OWNER/NAME [--private] [--dry-run]

STYLE is a name in the styles folder, or a folder with a style card. Only what `package` lists is pushed. The adapter's metadata is cut down
to what readers need, pictures lose theirs, and a text that names a path of this machine or holds a token is refused. Run it again when you
like: what is there already is not sent again, and where nothing changed there is no commit.

The model card is made from the style card and `training.json` beside the adapter. Log in first with `hf auth login`, or set HF_TOKEN.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import re
import struct
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import PartialState
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCardData
from PIL import Image

from stylekit.adapters import kohya, lora_file, lora_settings
from stylekit.base_card import POCKET
from stylekit.errors import AdapterError, SettingError, StyleError
from stylekit.hub import MODEL_CARD, SOURCE, HubError, read_weights, readable_size, told
from stylekit.images import open_picture
from stylekit.storage.paths import STYLES_FOLDER
from stylekit.storage.untrusted import Source, parse_json, read_text
from stylekit.styles import CARD_FILE, DIAL_FILE, TOLD, WEIGHTS, Adapter, Style, card_text, read_style
from training.style.records import RECORD_FILE, card_path
from training.style.settings import StyleTraining

TAGS = ("diffusers", "image-to-image", "style-transfer", "stylekit", "art")
KIND_TITLES = {"lora": "LoRA", "dreambooth": "DreamBooth"}
KIND_TAGS = {"lora": ("lora",), "dreambooth": ("dreambooth",)}
LICENSES = ("mit", "apache-2.0", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "creativeml-openrail-m", "openrail", "unlicense")
METADATA = re.compile(rf"format|{lora_settings.CONFIG_KEY}|stylekit_\w+|ss_network_(module|dim|alpha)|ss_base_model_version")
PRIVATE = re.compile(r"\bhf_[A-Za-z0-9]{20,}|(?<![\w.:/])/(?:home|root|Users|mnt|media|data|tmp|var|srv)/[^\s\"',)]+|\b[A-Z]:\\[^\s\"',)]+")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# of training.json's settings, those that make a recipe
RECIPE = (
    *(
        "mode",
        "resolution",
        "steps",
        "batch",
        "accumulate",
        "optimizer",
        "lr",
        "schedule",
        "warmup",
        "weight_decay",
        "ema",
        "min_snr_gamma",
    ),
    *("layers", "rank", "fine_rank", "t_min", "t_max", "l2", "perceptual", "style_weight", "contrast", "seed", "precision"),
)

Files = Mapping[str, "bytes | Path"]  # path in the repository -> content

LORA_IN_STABLE_DIFFUSION = """\
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from diffusers.utils import load_image

pipe = StableDiffusionImg2ImgPipeline.from_pretrained("{base}", torch_dtype=torch.float16).to("cuda")
pipe.load_lora_weights("{repo}", weight_name="{file}", adapter_name="{adapter}")
pipe.set_adapters("{adapter}", {scale:g})
image = pipe("{trigger}", image=load_image("photo.jpg"), strength=0.6, guidance_scale=1.0).images[0]
"""
LORA_IN_POCKET = """\
from diffusers import UNet2DConditionModel

# the pocket base is part of stylekit's repository
unet = UNet2DConditionModel.from_pretrained("assets/pocket", subfolder="unet")
unet.load_lora_adapter("{repo}", weight_name="{file}", prefix="unet", adapter_name="{adapter}")
"""
IN_STYLEKIT = """\
from PIL import Image
from stylekit.hub import pull
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.stylizer import Stylizer

stylizer = Stylizer.open("{base}")
style = pull("{repo}")
stylizer.add(style)
recipe = Recipe(mix=StyleMix.of(style.name), base="{base}")
stylizer.stylize(Image.open("photo.jpg"), recipe).image.save("art.png")
"""
PROCESSORS = {"lora": (LORA_IN_POCKET, LORA_IN_STABLE_DIFFUSION)}  # kind -> plain diffusers on the pocket base, and on others


def push(style: Style, adapter: Adapter | None, repo: str, *, private: bool = False) -> str:
    """Push `adapter` of `style` to `repo`, or a style that is only drawn (None); a sentence about what happened. Raises HubError with the
    reason if it could not be done."""
    check_repo(repo)
    return publish(repo, package(style, adapter, repo), message=f"{style.title}, by stylekit", private=private)


def pushed(settings: StyleTraining, train: Callable[[], Path]) -> Path:
    """What `train` returns, the adapter file, once it is pushed too, where `settings` ask for that. A bad name is told before."""
    if settings.push_to_hub:
        check_repo(settings.push_to_hub)
    adapter = train()
    card = card_path(settings.out, settings.card)
    if settings.push_to_hub and card and PartialState().is_main_process:
        print(push_trained(card, adapter, settings.push_to_hub))
    return adapter


def push_trained(card: Path, file: Path, repo: str) -> str:
    """Push the adapter that a training run has written to `file`, of the style of `card`; a sentence about what happened."""
    try:
        style = find_style(str(card.parent))
        found = next((one for one in style.adapters if one.path == file.resolve()), None)
        if found is None:
            raise SettingError(f"{card} does not name it: add it there and run python -m training.push {card.parent} --repo {repo}.")
        return push(style, found, repo)
    except StyleError as error:
        raise HubError(f"{file} is written, but was not pushed. {error}") from None


def package(style: Style, adapter: Adapter | None, repo: str) -> dict[str, bytes]:
    """Everything that is pushed: the adapter, if there is one, the style's pictures, its style card and its model card. StyleError if any
    may not be."""
    files, names = _weights(style, adapter) if adapter else ({}, {})
    for picture, stem in ((style.before, "before"), (style.preview, "preview"), (style.dial, Path(DIAL_FILE).stem)):
        if picture and picture.is_file() and picture.suffix.lower() in PICTURE_SUFFIXES:
            names[picture] = stem + picture.suffix.lower()
            files[names[picture]] = clean_picture(picture)
    told = [one for one in style.adapters if one.kind in TOLD]
    for number, painting in enumerate(dict.fromkeys(path for one in told for path in one.pictures), start=1):
        names[painting] = f"painting-{number}{painting.suffix.lower()}"
        files[names[painting]] = clean_picture(painting)
    card = card_text(dataclasses.replace(style, adapters=(*((adapter,) if adapter else ()), *told)), names)
    page = model_card(style, adapter, repo, names, read_training(adapter)) if adapter else drawn_card(style, repo, names)
    for name, text in {CARD_FILE: card, MODEL_CARD: page}.items():
        refuse_private(text, f"{name} of the style {style.name}")
        files[name] = text.encode()
    return files


def _weights(style: Style, adapter: Adapter) -> tuple[dict[str, bytes], dict[Path, str]]:
    """The adapter's file by its name in the repository, and that name by its path here. StyleError if it may not be pushed."""
    if adapter.base != POCKET and not SOURCE.fullmatch(adapter.base):
        raise SettingError(f"The adapter is for {adapter.base}, which others do not have: write the base's Hub id into the style card.")
    name = adapter.path.name
    read_weights(adapter, style.name)
    if adapter.kind == "lora":
        if kohya.is_kohya(lora_file.read_tensors(adapter.path)[0]):
            raise AdapterError(
                f"{adapter.path} is in kohya's format: convert it first (python -m stylekit.adapters.convert SRC DST --to diffusers)."
            )
        name = lora_file.WEIGHTS_FILE
    return {name: clean_weights(adapter.path)}, {adapter.path: name}


def publish(
    repo: str,
    files: Files,
    *,
    message: str,
    kind: str = "model",
    sdk: str | None = None,
    private: bool = False,
    stale: Iterable[re.Pattern[str]] = (),
) -> str:
    """Create `repo` if need be and put `files` there in one commit; a sentence about what happened.

    What is on the Hub by now is not sent again, so after a broken connection the same call goes on. Where nothing changed there is no
    commit. stale: files of the repository whose names match, and that are not among `files`, are taken away.
    """
    api = HfApi()
    with told(repo, writing=True):
        url = api.create_repo(repo, repo_type=kind, private=private or None, space_sdk=sdk, exist_ok=True)
        before = api.space_info(repo) if kind == "space" else api.model_info(repo)
    if private and not before.private:
        raise HubError(f"{repo} is there already and public: make it private on its page, or leave --private out.")
    there = {file.rfilename for file in before.siblings or ()}
    gone = sorted(name for name in there - set(files) if any(pattern.fullmatch(name) for pattern in stale))
    additions = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=_content(files[name])) for name in sorted(files)]
    with told(repo, writing=True):
        operations: list[Any] = [*additions, *(CommitOperationDelete(path_in_repo=name) for name in gone)]
        commit = api.create_commit(repo, operations, commit_message=message, repo_type=kind)
    if commit.oid == before.sha:
        return f"{url} is up to date: nothing was pushed"
    return f"{url} has {len(files)} files, {readable_size(_size(files))}, by commit {commit.oid[:8]}"


def drawn_card(style: Style, repo: str, names: Mapping[Path, str]) -> str:
    """README.md of the repository of a style that is only drawn."""
    preview = names.get(style.preview) if style.preview else None
    data = ModelCardData(
        library_name="stylekit",
        **_license(style.license),
        pipeline_tag="image-to-image",
        tags=[tag for tag in TAGS if tag != "diffusers"],
        widget=[{"text": "-", "output": {"url": preview}}] if preview else None,
    )
    sections = [
        *_looks(style, names),
        "A style card without weights: stylekit's hand draws it by procedure, on every base.",
        _in_stylekit(repo, POCKET),
        f"## How it is made\n\n{style.drawn}" if style.drawn else "",
        f"## Licence\n\n{style.license}." + (f" Period: {style.period}." if style.period else ""),
    ]
    return _page(data, sections)


def _looks(style: Style, names: Mapping[Path, str]) -> list[str]:
    """Title and pictures."""
    preview, before, dial = (names.get(path) if path else None for path in (style.preview, style.before, style.dial))
    pair = f"| photo | {style.title} |\n|---|---|\n| ![a photo]({before}) | ![the same in the style]({preview}) |"
    return [
        f"# {style.title}",
        style.blurb,
        pair if before and preview else "",
        f"Strength 0, 0.2, 0.5, 0.8 and 1:\n\n![the dial]({dial})" if dial else "",
    ]


def _in_stylekit(repo: str, base: str) -> str:
    code = IN_STYLEKIT.format(repo=repo, base=base)
    return f"## In stylekit\n\nOn the page: Gallery, Add from the Hub, `{repo}`. In Python:\n\n```python\n{code}```"


def _page(data: ModelCardData, sections: Iterable[str]) -> str:
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(section for section in sections if section) + "\n"


def model_card(style: Style, adapter: Adapter, repo: str, names: Mapping[Path, str], training: Mapping[str, Any]) -> str:
    """README.md of the repository: YAML for the Hub, then how it looks, how to use it, and how it was made."""
    preview = names.get(style.preview) if style.preview else None
    trigger = adapter.trigger or training.get("settings", {}).get("trigger") or ""
    data = ModelCardData(
        library_name="diffusers",
        **_license(adapter.license),
        base_model=adapter.base if adapter.base != POCKET else None,
        base_model_relation="adapter" if adapter.base != POCKET else None,
        pipeline_tag="image-to-image",
        tags=[*KIND_TAGS.get(adapter.kind, ()), *(() if adapter.base == POCKET else ("stable-diffusion",)), *TAGS],
        instance_prompt=trigger or None,
        widget=[{"text": trigger or "-", "output": {"url": preview}}] if preview else None,
    )
    file = names[adapter.path]
    says = {"repo": repo, "file": file, "base": adapter.base, "adapter": style.name, "scale": adapter.scale, "trigger": trigger}
    pocket, other = PROCESSORS.get(adapter.kind, ("", ""))
    plain = (pocket if adapter.base == POCKET else other).format(**says)
    base = "stylekit's pocket base, which is part of its repository" if adapter.base == POCKET else f"`{adapter.base}`"
    metrics = {**adapter.metrics, **_measured(training)}
    sections = [
        *_looks(style, names),
        f"A {KIND_TITLES.get(adapter.kind, adapter.kind)} adapter for {base}. "
        + (f"Trigger words: `{trigger}`." if trigger else "It needs no prompt: a photo goes in, the same scene in the style comes out."),
        _in_stylekit(repo, adapter.base),
        f"## In plain diffusers\n\n```python\n{plain}```" if plain else "",
        f"## How it was made\n\n{adapter.made}",
        _table("Recipe", _recipe(training)),
        f"## Data and licences\n\n{adapter.data}\n\nLicence of the adapter: {adapter.license}."
        + (f" Period: {style.period}." if style.period else ""),
        _table("Metrics", metrics),
    ]
    return _page(data, sections)


def read_training(adapter: Adapter) -> dict[str, Any]:
    """`training.json` beside the adapter, empty if there is none."""
    path = adapter.path.with_name(RECORD_FILE)
    if not path.is_file():
        return {}
    source = Source(what=str(path), remedy="mend or remove it")
    values = parse_json(read_text(path, source), source)
    return values if isinstance(values, dict) else {}


def clean_weights(path: Path) -> bytes:
    """The safetensors file at `path`, whose metadata holds nothing but what readers need: trainers write folders and tags of data there."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    metadata = header.get("__metadata__", {})
    kept = {key: value for key, value in sorted(metadata.items()) if METADATA.fullmatch(key)}
    refuse_private(" ".join(kept.values()), f"The metadata of {path.name}")
    if kept == metadata:
        return content
    text = json.dumps({"__metadata__": kept} | {k: v for k, v in header.items() if k != "__metadata__"}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def clean_picture(path: Path) -> bytes:
    """The picture at `path`, written anew if it carries anything besides pixels and colour profile, such as where it was taken."""
    whole = open_picture(path)
    with Image.open(path) as picture:
        carries = bool(picture.getexif()) or any(key in picture.info for key in ("xmp", "XML:com.adobe.xmp", "comment", "photoshop"))
        carries = carries or bool(getattr(picture, "text", None))
        kind = picture.format or "JPEG"
    if not carries:
        return path.read_bytes()
    content = io.BytesIO()
    whole.save(content, kind, quality=95)
    return content.getvalue()


def refuse_private(text: str, what: str) -> None:
    """StyleError if `text` names a path of this machine or holds a token."""
    found = PRIVATE.search(text)
    if found:
        shown = "an access token" if found[0].startswith("hf_") else f"{found[0]}, a path of this machine"
        raise StyleError(f"{what} holds {shown}: take it out before it is pushed.")


def check_repo(repo: str) -> None:
    """SettingError unless `repo` is OWNER/NAME."""
    if not SOURCE.fullmatch(repo) or "@" in repo:
        raise SettingError(f"{repo!r} is not a repository of the Hub: write OWNER/NAME.")


def find_style(name: str, folder: Path = STYLES_FOLDER) -> Style:
    """The style called `name` in `folder`, or in the folder that `name` is a path to."""
    for place in (folder / name, Path(name)):
        if (place / CARD_FILE).is_file():
            return read_style(place.resolve() / CARD_FILE)
    raise SettingError(f"There is no style {name!r}: name one of {folder}, or a folder with a {CARD_FILE}.")


def choose_adapter(style: Style, base: str | None = None, kind: str | None = None) -> Adapter | None:
    """The one adapter of `style` for `base` and of `kind`, where these are given; None for a style that is only drawn."""
    weights = [one for one in style.adapters if one.kind in WEIGHTS]
    if not weights and style.hand is not None and base is None and kind is None:
        return None
    found = [one for one in weights if base in (None, one.base) and kind in (None, one.kind)]
    if len(found) == 1:
        return found[0]
    there = ", ".join(f"{one.base} ({one.kind})" for one in weights) or "none"
    raise SettingError(f"The style {style.name} has {len(found)} such adapters: choose by --base and --kind among {there}.")


def _license(text: str) -> dict[str, Any]:
    """As the Hub names licences."""
    slug = re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")
    if slug in LICENSES:
        return {"license": slug}
    return {"license": "unknown"} if slug in ("", "not-stated") else {"license": "other", "license_name": slug}


def _recipe(training: Mapping[str, Any]) -> dict[str, Any]:
    settings = {"mode": training.get("mode"), **training.get("settings", {})}
    recipe = {key: settings[key] for key in RECIPE if settings.get(key) is not None}
    return recipe | {f"{key} trained on": training[key] for key in ("pictures", "items") if training.get(key)}


def _measured(training: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of the training log that say how well it went."""
    held_out = training.get("held_out")
    terms = held_out if isinstance(held_out, dict) else {"held-out loss": held_out}
    measured = {key: value for key, value in terms.items() if isinstance(value, (int, float))}
    seconds = training.get("seconds")
    return measured | ({"seconds of training": seconds} if isinstance(seconds, (int, float)) else {})


def _table(title: str, values: Mapping[str, Any]) -> str:
    rows = "\n".join(
        f"| {key.replace('_', ' ')} | {value:.4g} |" if isinstance(value, float) else f"| {key.replace('_', ' ')} | {value} |"
        for key, value in values.items()
    )
    return f"## {title}\n\n| what | value |\n|---|---|\n{rows}" if values else ""


def _content(content: bytes | Path) -> bytes | str:
    return content if isinstance(content, bytes) else str(content)


def _size(files: Files) -> int:
    return sum(len(content) if isinstance(content, bytes) else content.stat().st_size for content in files.values())


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.push", description="Push a style to the Hugging Face Hub.")
    parser.add_argument("style", metavar="STYLE", help="name of a style, or a folder with a style card")
    parser.add_argument("--repo", required=True, metavar="OWNER/NAME", help="repository to push to; made if it is not there")
    parser.add_argument("--private", action="store_true", help="make the repository private")
    parser.add_argument("--dry-run", action="store_true", help="show what would be pushed, and push nothing")
    parser.add_argument("--base", help="which of the style's adapters: for this base")
    parser.add_argument("--kind", help="which of the style's adapters: of this kind")
    parser.add_argument("--styles", type=Path, default=STYLES_FOLDER, metavar="DIR", help="folder of style cards")
    args = parser.parse_args(argv)
    try:
        check_repo(args.repo)
        style = find_style(args.style, args.styles)
        adapter = choose_adapter(style, args.base, args.kind)
        if args.dry_run:
            files = package(style, adapter, args.repo)
            print(files[MODEL_CARD].decode())
            print("\n".join(f"{readable_size(len(files[name])):>10}  {name}" for name in sorted(files)))
            print(f"would be pushed to {args.repo}{' (private)' if args.private else ''}; nothing was")
        else:
            print(push(style, adapter, args.repo, private=args.private))
    except StyleError as error:
        print(f"push: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
