"""Styles and bases of the Hugging Face Hub: fetched into huggingface_hub's cache, checked, and from then on there without a network.

A style's repository holds an adapter, mostly `pytorch_lora_weights.safetensors`. What `training.push` made holds a style card too, so that
the style comes with its pictures, licence and settings; of any other the model card (`README.md`) says what it says. Only safetensors is
read: the file's size is known before it is fetched, and it is checked against the base it is for before the style is handed out.
"""

from __future__ import annotations

import dataclasses
import errno
import glob
import io
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RevisionNotFoundError,
)
from tqdm.auto import tqdm

from stylekit.adapters import changes, deltas, families, lora_file, lora_weights
from stylekit.adapters.lora_settings import CONFIG_FILE
from stylekit.base_card import ALIASES, POCKET
from stylekit.errors import AdapterError, BaseError, StyleError, first_line
from stylekit.storage.tensorfile import is_safetensors
from stylekit.storage.untrusted import Source, as_table, cut, name_problem, parse_json, parse_yaml, read_text, shown
from stylekit.styles import CARD_BYTES, CARD_FILE, DIAL_FILE, TITLE_LENGTH, WEIGHTS, Adapter, Style, read_style, style_name

log = logging.getLogger(__name__)

MODEL_CARD = "README.md"
SD15 = next(iter(ALIASES.values()))
MODEL_CARD_BYTES = 2**20  # of a README; a larger one is not read, and says nothing
CONFIG_BYTES = 2**20  # of a base's or an adapter's JSON
MOST_BYTES = 8 * 2**30  # of all that one style may fetch
HEAD = re.compile(r"---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(\r?\n|$)", re.DOTALL)  # the YAML of a model card
FACT_LENGTH = 200  # characters of a licence, a base's name or trigger words
PICTURE_BYTES = 20 * 2**20  # of a preview picture; a larger one is left out
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
NOT_STATED = "Not stated by its maker."
SOURCE = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96})(@(?P<revision>[\w.-]{1,64}))?", re.ASCII)
# what `Base.open` and the first empty prompt fetch
BASE_FILES = re.compile(
    r"(unet|vae)/(config\.json|diffusion_pytorch_model(-\d+-of-\d+)?\.safetensors(\.index\.json)?)|scheduler/scheduler_config\.json"
    r"|tokenizer/[\w.]+\.(json|txt)|text_encoder/(config\.json|model\.safetensors)"
)
# the bases of huggingface_hub's error are those of the HTTP library that its version uses, for failed connections too
HTTP_ERRORS: tuple[type[Exception], ...] = (OSError, *(kind for kind in HfHubHTTPError.__bases__ if issubclass(kind, Exception)))
CLIENT_ERRORS: tuple[type[Exception], ...] = (ValueError, RuntimeError, EntryNotFoundError, *HTTP_ERRORS)
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)

Weights = lora_weights.LoraWeights | deltas.Delta | changes.Change
Say = Callable[[str, float], None]  # what is being done, and how much of it is done, 0 to 1


class HubError(StyleError):
    """Something on the Hub that cannot be had or written. The message says why."""


@dataclass(frozen=True, kw_only=True)
class BaseNeeds:
    """What a base wants before it is fetched.

    files: those it consists of. download, present: bytes to fetch, and bytes in the cache. memory: bytes of its weights as they run on a
    GPU, where all but the autoencoder is float16.
    """

    source: str
    files: tuple[str, ...]
    download: int
    present: int
    memory: int
    license: str


def open_style(source: str | Path, *, say: Say | None = None) -> Style:
    """The style in a folder or an adapter file, or else on the Hub (see `pull`). It opens any path, so it is not for visitors of a page."""
    problem = name_problem(str(source))
    if problem:
        raise HubError(f"{cut(str(source))!r} {problem}: check the path, or name a repository of the Hub as OWNER/NAME.")
    path = Path(source).expanduser()
    try:
        if path.is_dir():
            return _style_in(path, {file.name for file in path.iterdir() if file.is_file()}, style_name(path.resolve().name), str(path))
        if path.is_file():
            return _checked(_uncarded(path.parent, path.name, style_name(path.stem), str(path), {}))
    except (OSError, RuntimeError) as error:  # of folders that may not be read, or links in a circle
        raise HubError(f"{source} cannot be read ({first_line(error)}): check its permissions.") from None
    if not SOURCE.fullmatch(str(source)) or is_safetensors(str(source)):
        raise HubError(f"There is no folder or file {source}: check the path, or name a repository of the Hub as OWNER/NAME.")
    return pull(str(source), say=say)


def pull(
    source: str, *, cache: Path | None = None, endpoint: str | None = None, token: str | bool | None = None, say: Say | None = None
) -> Style:
    """The style in the repository ``OWNER/NAME[@revision]``, whose files are fetched unless they are in the cache.

    cache: by default huggingface_hub's. say: told what is being done. Raises HubError if the repository cannot be had or holds no adapter,
    and AdapterError if the adapter cannot be used with the base it is for.
    """
    match = SOURCE.fullmatch(source.strip())
    if not match:
        raise HubError(f"{shown(source)} is not a repository of the Hub: write OWNER/NAME, or OWNER/NAME@revision.")
    repo, revision = match["repo"], match["revision"]
    api = HfApi(endpoint=endpoint, token=token)
    say = say or _quiet

    def fetch(names: list[str], at: str | None, total: int = 0, here: bool = False) -> Path:
        shown = _bar(lambda done: say(f"Fetching {repo}, {readable_size(total)}", done / total)) if total else _bar(lambda _: None)
        exact = [glob.escape(name) for name in names]  # a file's name may be a pattern too
        return Path(
            api.snapshot_download(repo, revision=at, cache_dir=cache, allow_patterns=exact, tqdm_class=shown, local_files_only=here)
        )

    say(f"Looking at {repo}", 0.0)
    with told(repo):
        try:
            commit, sizes = _listing(api, repo, revision)
            folder = fetch(_small(sizes, repo), revision)
            if folder.name != commit:  # it has just been changed
                commit, sizes = _listing(api, repo, folder.name)
                fetch(_small(sizes, repo), commit)
        except HTTP_ERRORS as error:  # without the Hub, what the cache has
            try:
                folder = fetch([], revision, here=True)
            except LocalEntryNotFoundError:
                raise error from None
            sizes = {name: (folder / name).stat().st_size for name in _names(folder)}
            if CARD_FILE not in sizes and not any(map(is_safetensors, sizes)):
                raise error from None
    name, origin = repo.replace("/", "--") + (f"@{revision}" if revision else ""), f"{repo}@{folder.name}"
    wanted = _wanted(folder, sizes, name, repo)
    total = sum(sizes[file] for file in wanted)
    _refuse_size(total, MOST_BYTES, repo, "a style")
    with told(repo):
        fetch(wanted, folder.name, total)
    say(f"Checking {repo}", 1.0)
    return _style_in(folder, set(wanted) | _names(folder), name, origin, root=folder.parent.parent)


def base_needs(source: str, *, cache: Path | None = None, endpoint: str | None = None, token: str | bool | None = None) -> BaseNeeds:
    """What the base `source` ("pocket" or a Hub id) wants, from the Hub's listing. BaseError or HubError if it cannot be used or had."""
    if source == POCKET:
        return BaseNeeds(source=POCKET, download=0, present=0, memory=0, license="MIT", files=())
    repo = ALIASES.get(source, source)
    if not SOURCE.fullmatch(repo) or "@" in repo:
        raise BaseError(f"{source!r} is not a base: use {POCKET} or a Hub id such as {SD15}.")
    api = HfApi(endpoint=endpoint, token=token)
    with told(repo):
        info = api.model_info(repo, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or () if BASE_FILES.fullmatch(file.rfilename)}
        if "unet/config.json" not in sizes:
            raise BaseError(f"{repo} holds no base in diffusers layout (no unet/config.json): choose another.")
        for part in ("unet", "vae"):
            if not any(name.startswith(part) and name.endswith(".safetensors") for name in sizes):
                raise BaseError(f"{repo} has no safetensors for its {part}, and pickle is not read: choose another base.")
        if sizes["unet/config.json"] > CONFIG_BYTES:
            raise BaseError(f"{repo} has a unet/config.json of {readable_size(sizes['unet/config.json'])}: choose another base.")
        config = api.hf_hub_download(repo, "unet/config.json", revision=info.sha, cache_dir=cache)
    _refuse_other_base(Path(config), repo)
    there = {name for name in sizes if isinstance(try_to_load_from_cache(repo, name, cache_dir=cache, revision=info.sha), str)}
    weights = {part: sum(size for name, size in sizes.items() if name.startswith(part)) for part in ("unet/", "vae/")}
    return BaseNeeds(
        source=repo,
        files=tuple(sizes),
        download=sum(size for name, size in sizes.items() if name not in there),
        present=sum(sizes[name] for name in there),
        memory=weights["unet/"] // 2 + weights["vae/"],
        license=_one(info.card_data.to_dict().get("license")) if info.card_data else NOT_STATED,
    )


def fetch_base(source: str, *, cache: Path | None = None, endpoint: str | None = None, say: Say | None = None) -> None:
    """Have the base `source` ("pocket" or a Hub id) in the cache, so that `Base.open` finds it. Raises as `base_needs`."""
    say = say or _quiet
    say(f"Looking at {source}", 0.0)
    needs = base_needs(source, cache=cache, endpoint=endpoint)
    if not needs.download:
        return
    text = f"Fetching {needs.source}, {readable_size(needs.download)}"
    shown = _bar(lambda done: say(text, min(1.0, done / needs.download)))
    with told(needs.source):
        api = HfApi(endpoint=endpoint)
        api.snapshot_download(needs.source, cache_dir=cache, allow_patterns=list(needs.files), tqdm_class=shown)


@contextmanager
def told(repo: str, writing: bool = False) -> Iterator[None]:
    """Turns what huggingface_hub raises into one sentence."""
    try:
        yield
    except CLIENT_ERRORS as error:
        raise HubError(explain(error, repo, writing)) from error


def explain(error: BaseException, repo: str, writing: bool = False) -> str:
    """What `error`, raised by huggingface_hub about `repo`, means: what is wrong, and what to do."""
    chain = list(_causes(error))
    failed = next((e for e in chain if isinstance(e, HfHubHTTPError) and getattr(e, "response", None) is not None), None)
    disk = next((e for e in chain if isinstance(e, OSError) and e.errno in DISK_ERRORS), None)
    if disk is not None:
        return f"A file could not be written ({disk.strerror}): make room and run it again."
    again = "the same command goes on where it stopped" if writing else "what is in the cache works without the Hub"
    if failed is None:
        if not any(isinstance(e, HTTP_ERRORS) for e in chain):
            garbled = any(isinstance(e, json.JSONDecodeError) for e in chain)  # a proxy's or a failing server's web page
            return f"The Hub's answer about {repo} cannot be read: try again later." if garbled else f"{repo}: {first_line(error)}"
        if writing:
            return f"The Hub cannot be reached, or the connection broke: check it and try again; {again}."
        return f"The Hub cannot be reached, and {repo} is not in the cache: check the connection; {again}."
    status = failed.response.status_code
    if isinstance(failed, GatedRepoError):
        return f"{repo} is open only to those its owner lets in: ask for access on its page, then log in with `hf auth login`."
    if isinstance(failed, RevisionNotFoundError):
        return f"{repo} has no such revision: name a branch, a tag or a commit of it."
    if status == 401 and writing:
        return "The Hub wants a token that may write, and has none or a wrong one: log in with `hf auth login`, or set HF_TOKEN."
    if status in (401, 404):
        return f"There is no {repo} on the Hub, or it is private: check the name, or log in with `hf auth login`."
    if status == 403:
        return f"The Hub does not allow this token to {'write to' if writing else 'read'} {repo}: use one that has access to it."
    if status == 409:
        return f"{repo} is being changed by someone else just now: try again in a minute."
    if status == 429:
        return f"The Hub asks for fewer requests (429): wait a few minutes and try again; {again}."
    if status >= 500:
        return f"The Hub has trouble of its own ({status}): try again later; {again}."
    return f"The Hub refused {repo} ({status}): {getattr(failed, 'server_message', None) or first_line(failed)}"


def readable_size(size: int) -> str:
    """Bytes for people."""
    for unit, bytes_each in (("GB", 1e9), ("MB", 1e6)):
        if size >= bytes_each:
            return f"{size / bytes_each:.1f} {unit}"
    return f"{size / 1e3:.0f} KB"


def _listing(api: HfApi, repo: str, revision: str | None) -> tuple[str, dict[str, int]]:
    """The commit that `revision` is, and file -> bytes, by the Hub, which has sent none of them yet."""
    info = api.model_info(repo, revision=revision, files_metadata=True)
    return info.sha or "", {file.rfilename: file.size or 0 for file in info.siblings or ()}


def _small(sizes: Mapping[str, int], repo: str) -> list[str]:
    """The cards among the files, none of which is too large to be read."""
    if CARD_FILE in sizes:
        _refuse_size(sizes[CARD_FILE], CARD_BYTES, f"{repo}/{CARD_FILE}", "a style card")
        return [CARD_FILE]
    if sizes.get(MODEL_CARD, 0) > MODEL_CARD_BYTES:
        log.warning("%s: its %s is %s, and is not read.", repo, MODEL_CARD, readable_size(sizes[MODEL_CARD]))
        return []
    return [MODEL_CARD] if MODEL_CARD in sizes else []


def _wanted(folder: Path, sizes: Mapping[str, int], name: str, repo: str) -> list[str]:
    """What is to be fetched: the adapters and pictures that the style card names, or without a card the one adapter."""
    if CARD_FILE not in sizes:
        file = _weights_among(sizes, repo)
        _refuse_size(sizes[file], lora_file.MAX_BYTES, f"{repo}/{file}")
        return [file, *([CONFIG_FILE] if 0 < sizes.get(CONFIG_FILE, 0) <= CONFIG_BYTES else [])]
    style = read_style(folder / CARD_FILE, name=name, source=repo, root=folder.parent.parent)
    wanted = [CARD_FILE]
    for adapter in _with_files(style):
        file = _relative(adapter.path, folder)
        if file not in sizes:
            raise HubError(f"{repo} lacks the adapter {file} that its style card names: tell its maker.")
        _refuse_size(sizes[file], deltas.MAX_BYTES if adapter.kind == deltas.KIND else lora_file.MAX_BYTES, f"{repo}/{file}")
        config = PurePosixPath(file).with_name(CONFIG_FILE).as_posix()
        wanted += [file, *([config] if 0 < sizes.get(config, 0) <= CONFIG_BYTES else [])]
    paintings = (path for adapter in style.adapters for path in adapter.pictures)
    pictures = [_relative(path, folder) for path in (style.preview, style.before, folder / DIAL_FILE, *paintings) if path]
    wanted += [picture for picture in pictures if sizes.get(picture, PICTURE_BYTES + 1) <= PICTURE_BYTES]
    return list(dict.fromkeys(wanted))


def _with_files(style: Style) -> list[Adapter]:
    """Its adapters that are weights, and not words."""
    return [adapter for adapter in style.adapters if adapter.kind in WEIGHTS]


def _refuse_size(size: int, limit: int, what: str, kind: str = "an adapter of its kind") -> None:
    if size > limit:
        raise AdapterError(f"{what} is {readable_size(size)}: {kind} has {readable_size(limit)} at the most.")


def _weights_among(names: Mapping[str, int] | set[str], label: str) -> str:
    """The adapter file among the names of a repository or folder without a style card."""
    top = sorted(name for name in names if "/" not in name)
    found = [name for name in top if is_safetensors(name)]
    if lora_file.WEIGHTS_FILE in found:
        return lora_file.WEIGHTS_FILE
    if len(found) == 1:
        return found[0]
    if found:
        raise HubError(f"{label} holds several adapters ({', '.join(found[:5])}): fetch the one you want and open that file.")
    pickles = [name for name in top if name.endswith(PICKLES)]
    if pickles:
        raise HubError(f"{label} holds its adapter only as pickle ({pickles[0]}), which can run code: ask its maker for safetensors.")
    if "model_index.json" in names:
        raise HubError(f"{label} is a base, not an adapter: choose it as the base.")
    raise HubError(f"{label} holds no adapter (no .safetensors file at its top): name another repository.")


def _style_in(folder: Path, names: set[str], name: str, source: str, root: Path | None = None) -> Style:
    """The style in `folder`, of whose files `names` may be used, checked."""
    if CARD_FILE in names:
        style = read_style(folder / CARD_FILE, name=name, source=source, root=root)
        preview, before = (path if path and path.is_file() else None for path in (style.preview, style.before))
        return _checked(dataclasses.replace(style, preview=preview, before=before))
    facts = _model_card(folder / MODEL_CARD) if MODEL_CARD in names else {}
    return _checked(_uncarded(folder, _weights_among(names, source.partition("@")[0]), name, source, facts))


def _uncarded(folder: Path, file: str, name: str, source: str, facts: Mapping[str, Any]) -> Style:
    """A style of one adapter file, by what its model card says."""
    path = folder.absolute() / file
    license = _one(facts.get("license")) or NOT_STATED
    title = name.partition("@")[0].rpartition("--")[2].replace("-", " ").replace("_", " ")[:TITLE_LENGTH]
    adapter = Adapter(
        base=_base_of(changes.read(path), _one(facts.get("base_model"))),
        kind="lora",
        path=path,
        made=NOT_STATED,
        data=NOT_STATED,
        license=license,
        trigger=_one(facts.get("instance_prompt")),
    )
    return Style(name=name, title=title[:1].upper() + title[1:], blurb="", period="", license=license, adapters=(adapter,), source=source)


def _checked(style: Style) -> Style:
    """`style`, all of whose adapters are whole and fit the bases they are for; AdapterError otherwise."""
    if not style.adapters and style.hand is None:
        raise HubError(f"The style card of {style.source} names no adapter and has no hand: add one.")
    read: dict[tuple[Path, str], Weights] = {}  # a card may name a file for several bases
    checked: set[tuple[Path, str, str]] = set()
    for adapter in _with_files(style):
        key = (adapter.path, adapter.kind)
        if key not in read:
            read = {key: read_weights(adapter, style.name)}  # one at a time is enough memory
        if adapter.base == POCKET:
            unet, base = families.known_unets()[POCKET], f"the base {POCKET}"
        elif SOURCE.fullmatch(adapter.base) and not Path(adapter.base).is_dir():
            unet, base = families.known_unets()[families.SD1], families.SD1
        else:
            continue  # a folder of this machine: whether it fits shows when it is used
        if (*key, base) in checked:
            continue
        checked.add((*key, base))
        weights = read[key]
        if isinstance(weights, deltas.Delta):
            deltas.check_fits(weights, unet, base)
        elif isinstance(weights, changes.Change):
            changes.check_fits(weights, unet, base)
        else:
            lora_weights.check_fits(weights, unet, base)
    return style


def read_weights(adapter: Adapter, name: str) -> Weights:
    """The file of `adapter`, read and checked as one of its kind."""
    return deltas.read_delta(adapter.path, name) if adapter.kind == deltas.KIND else changes.read(adapter.path, name)


def _base_of(weights: lora_weights.LoraWeights | changes.Change, stated: str) -> str:
    """The base that `weights` are for: told by their shapes, and among Stable Diffusion's by what is `stated`."""
    family = changes.family_of(weights) if isinstance(weights, changes.Change) else families.family_of(weights)[0]
    return POCKET if family == POCKET else ALIASES.get(stated, stated) if SOURCE.fullmatch(stated) else SD15


def _model_card(path: Path) -> dict[str, Any]:
    """The YAML at the head of a model card; empty where there is none that can be read."""
    source = Source(what=f"The model card {path.name}", remedy="mend it", bytes=MODEL_CARD_BYTES)
    try:
        head = HEAD.match(read_text(path, source))
        return as_table(parse_yaml(head[1], source), source) if head else {}
    except StyleError as error:
        log.warning("%s", error)
        return {}


def _refuse_other_base(config: Path, repo: str) -> None:
    source = Source(what=f"unet/config.json of {repo}", remedy="choose another base", bytes=CONFIG_BYTES, kind=BaseError)
    values = as_table(parse_json(read_text(config, source), source), source)
    width = 2048 if values.get("addition_embed_type") else values.get("cross_attention_dim")
    family = families.OTHER_WIDTHS.get(width) if isinstance(width, int) else None
    if family:
        raise BaseError(f"{repo} is a {family} base: use a Stable Diffusion 1.x base or {POCKET}.")


def _bar(report: Callable[[int], None]) -> type[tqdm]:
    """A progress bar that draws nothing and tells how many bytes there are by now."""

    class Bar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **(kwargs | {"file": io.StringIO()}))

        def display(self, *args: Any, **kwargs: Any) -> None:
            """Nothing."""

        def update(self, n: float | None = 1) -> bool | None:
            changed = super().update(n)
            if self.unit == "B":
                report(int(self.n))
            return changed

    return Bar


def _names(folder: Path) -> set[str]:
    """Files in `folder`, as a repository names them; hidden ones left out."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts)}


def _relative(path: Path, folder: Path) -> str:
    return PurePosixPath(path.relative_to(folder.resolve() if path.is_relative_to(folder.resolve()) else folder)).as_posix()


def _one(value: Any) -> str:
    """A model card's value that may be a list, missing or null."""
    if isinstance(value, list):
        value = value[0] if value else ""
    return str(value)[:FACT_LENGTH] if isinstance(value, (str, int, float)) else ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _quiet(_: str, __: float) -> None:
    pass
