"""The Gallery tab in a real browser, with the real engine and a small Hub; and what the page says and serves."""

from __future__ import annotations

import dataclasses
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from PIL import Image
from playwright.sync_api import Browser, Page, expect

import app
from stylekit.adapters import lora_file
from stylekit.errors import BaseError, SettingError
from stylekit.hub import BaseNeeds
from stylekit.mix import StyleMix
from stylekit.recipe import Recipe
from stylekit.storage.paths import STYLES_FOLDER
from stylekit.studio import Studio
from stylekit.styles import StyleLibrary
from stylekit.stylizer import Stylized
from stylekit.ui import gallery
from stylekit.ui.parts import wall
from tests import hub_server
from tests.browser import PHONE, WAIT, answered, serve
from tests.files.test_hub import CARD, lora_bytes
from tests.hub_server import Hub

WEIGHTS = (STYLES_FOLDER / "sketch" / "pocket" / lora_file.WEIGHTS_FILE).read_bytes()
GB = 10**9


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as found:
        yield found


@pytest.fixture(scope="module")
def hub(patch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with hub_server.serve() as running:
        hub_server.aim_client(patch, running.url)
        patch.setattr(constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("cache")))
        picture = (STYLES_FOLDER / "sketch" / "preview.jpg").read_bytes()
        card = CARD.format(file="w.safetensors").replace('"b"', '"<b>Grey</b> all over."\npreview = "p.jpg"\nbefore = "p.jpg"')
        running.add("me/fog", {"style.toml": card.encode(), "w.safetensors": WEIGHTS, "p.jpg": picture})
        running.add("me/sd-style", {"a.safetensors": lora_bytes()})
        running.add("me/bad", {"a.safetensors": lora_bytes(value=float("nan"))})
        running.add("me/pickled", {"a.bin": b"x"})
        weights = {f"{part}/diffusion_pytorch_model.safetensors": bytes(2000) for part in ("unet", "vae")}
        running.add("me/sd", {"unet/config.json": b'{"cross_attention_dim": 768}', **weights})
        running.add("me/xl", {"unet/config.json": b'{"addition_embed_type": "text_time"}', **weights})
        yield running


@pytest.fixture(scope="module")
def url(hub: Hub) -> Iterator[str]:
    with serve(app.build(app.Settings())) as address:
        yield address


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    visit(opened, url)
    yield opened
    opened.close()


def visit(page: Page, url: str) -> None:
    page.goto("about:blank")
    page.goto(f"{url}#gallery")  # waits for its tab, which on a slow machine does not hear a click at first
    expect(page.locator(".sk-card").first).to_be_visible(timeout=WAIT)


def test_search_look_and_use(page: Page) -> None:
    cards = page.locator(".sk-card:visible")
    expect(cards).to_have_count(len(StyleLibrary.open()))
    page.get_by_role("searchbox").fill("JAPAN")
    expect(cards).to_have_count(1)
    expect(cards).to_contain_text("Ukiyo-e")
    page.get_by_role("searchbox").fill("nothing like it")
    expect(page.get_by_text("No style matches that.")).to_be_visible()
    page.get_by_role("searchbox").fill("")
    page.get_by_role("button", name="Look at Pencil sketch", exact=True).click()
    expect(page.locator("#piece-label h2")).to_have_text("Pencil sketch", timeout=WAIT)
    expect(page.locator("#piece-label")).to_contain_text("2.0 MB")
    page.locator("#use").click()
    expect(page.locator("#style input[value=sketch]")).to_be_checked(timeout=WAIT)
    expect(page.locator("#style")).to_be_visible()
    page.get_by_role("tab", name="Gallery").click()
    page.get_by_role("button", name="Use Ukiyo-e").click()
    expect(page.locator("#style input[value=ukiyoe]")).to_be_checked(timeout=WAIT)


def test_a_style_of_the_hub_is_added_used_and_stays(page: Page, url: str) -> None:
    status = page.locator("#add-status")

    def add(source: str) -> None:
        page.locator("#source textarea, #source input").fill(source)
        page.locator("#add").click()

    for source, refusal in {
        "": "There is no repository yet",
        "nonsense": "write OWNER/NAME",
        "me/none": "There is no me/none on the Hub",
        "me/bad": "NaN or infinite",
        "me/pickled": "only as pickle",
        "assets/pocket": "There is no assets/pocket on the Hub",  # a folder of the server is none of a visitor's business
    }.items():
        add(source)
        expect(status).to_contain_text(refusal, timeout=WAIT)
        expect(page.locator("#add")).to_be_enabled(timeout=WAIT)
    before = page.locator(".sk-card").count()
    add("me/fog")
    expect(status).to_contain_text("Fog is here; it is on the wall.", timeout=WAIT)
    expect(page.locator(".sk-card")).to_have_count(before + 1)
    expect(page.locator("#piece-label")).to_contain_text("<b>Grey</b> all over.")  # its words are words, not HTML
    expect(page.locator("#piece-label")).to_contain_text("me/fog at ")
    page.locator("#use").click()
    expect(page.locator("#style input[value=me--fog]")).to_be_checked(timeout=WAIT)

    visit(page, url)  # a new page knows it too
    expect(page.locator(".sk-card")).to_have_count(before + 1, timeout=WAIT)
    add("me/sd-style")
    expect(status).to_contain_text("it needs the base stable-diffusion-v1-5", timeout=WAIT)
    card = page.locator(".sk-card", has_text="Sd style")
    expect(card).to_contain_text("No adapter for pocket; it is for stable-diffusion-v1-5")
    expect(card.get_by_role("button", name="Use Sd style")).to_be_disabled()
    expect(page.locator("#use")).to_be_disabled()


def test_a_base_says_what_it_needs_before_it_is_fetched(page: Page, hub: Hub) -> None:
    status, fetch = page.locator("#base-status"), page.locator("#fetch")
    expect(status).to_contain_text("pocket is in use.")
    expect(fetch).to_be_hidden()
    hub.requests.clear()
    for source, words, offered in (
        ("me/xl", "is a Stable Diffusion XL base", False),
        ("me/sd", "It wants a GPU", True),
        ("me/none", "There is no me/none", False),
        ("pocket", "pocket is in use.", False),
    ):
        page.locator("#base input").fill(source)
        page.locator("#base input").press("Enter")
        page.locator("#look").click()
        expect(status).to_contain_text(words, timeout=WAIT)
        expect(fetch).to_be_visible() if offered else expect(fetch).to_be_hidden()
    assert any("/me/sd" in request for request in hub.requests)
    assert not any("diffusion_pytorch_model" in request for request in hub.requests)


def test_at_phone_width_nothing_sticks_out(browser: Browser, url: str) -> None:
    page = browser.new_page(viewport={"width": PHONE[0], "height": PHONE[1]})
    visit(page, url)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.close()


def test_nothing_outside_its_folders_is_served(url: str, root: Path) -> None:
    straight = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever proxy the machine names
    for name in (
        "/etc/passwd",
        "../../../../etc/passwd",
        str(root / "app.py"),
        str(root / "assets" / "pocket" / "model_index.json"),
        "app.py",
        ".git/config",
        str(root / ".git" / "config"),
        "~/.bashrc",
        "http://169.254.169.254/latest/meta-data/",
    ):
        for path in (f"/gradio_api/file={name}", f"/file={name}", f"/gradio_api/file=%2e%2e/{name}"):
            request = urllib.request.Request(f"{url.rstrip('/')}{urllib.request.quote(path, safe='/=:%')}")
            with pytest.raises(urllib.error.HTTPError) as refused:
                straight.open(request, timeout=20)
            assert refused.value.code in (400, 403, 404, 422), path


# ---- without a browser


def test_only_what_is_known_is_shown() -> None:
    monet = StyleLibrary.open()["monet"]
    facts = wall.facts_of(monet, monet.adapters[0])
    assert "Metrics" not in facts
    assert "Trigger" not in facts
    measured = dataclasses.replace(monet.adapters[0], metrics={"ArtFID": 28.8012}, trigger="monet style")
    assert {"ArtFID": "28.8", "Trigger": "monet style"}.items() <= wall.facts_of(monet, measured).items()
    cards = wall.wall_cards(StyleLibrary.open().styles, "pocket")
    assert len({card["before"] for card in cards["cards"]}) == 1  # they share the photo
    assert len({card["after"] for card in cards["cards"]}) == len(StyleLibrary.open())
    assert len(cards["cards"]) == len(StyleLibrary.open())
    assert all(card["available"] for card in cards["cards"])
    others = wall.wall_cards(StyleLibrary.open().styles, "someone/sd15")["cards"]
    drawn = {style.name for style in StyleLibrary.open() if style.hand is not None}
    assert drawn
    assert {card["name"] for card in others if card["available"]} == drawn  # these have words too
    notes = {card["note"] for card in others if not card["available"]}
    assert notes
    assert all("it is for pocket" in note for note in notes)


def test_what_a_base_needs_is_said_in_words() -> None:
    needs = BaseNeeds(source="a/b", files=(), download=int(3.4 * GB), present=0, memory=2 * GB, license="openrail")
    said = gallery.describe_needs(needs, None)
    assert "3.4 GB to download" in said
    assert "2.0 GB of GPU memory" in said
    assert "This machine has none" in said
    assert "Licence: openrail" in said
    assert "This machine has one: H100" in gallery.describe_needs(dataclasses.replace(needs, download=0, present=4 * GB), "H100")


def test_a_space_does_not_let_visitors_add_or_choose_unless_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPACE_ID", "STYLEKIT_ADD_STYLES", "STYLEKIT_CHOOSE_BASE"):
        monkeypatch.delenv(name, raising=False)
    assert app.Settings().add_styles
    monkeypatch.setenv("SPACE_ID", "me/space")
    settings = app.Settings()
    assert not settings.add_styles
    assert not settings.choose_base
    visitors = {"add", "source", "look", "base", "fetch"}
    assert not answered(app.build(settings)) & visitors
    monkeypatch.setenv("STYLEKIT_ADD_STYLES", "on")
    assert app.Settings().add_styles
    monkeypatch.setenv("STYLEKIT_CHOOSE_BASE", "on")
    assert answered(app.build(app.Settings())) >= visitors
    monkeypatch.setenv("STYLEKIT_CHOOSE_BASE", "maybe")
    with pytest.raises(SettingError, match="give on or off"):
        app.Settings()


@pytest.mark.slow
def test_a_studio_changes_its_base_and_takes_styles(
    hub: Hub, photo: Image.Image, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STYLEKIT_CACHE", str(tmp_path))
    studio = Studio("pocket", STYLES_FOLDER, ["me/fog", "me/none"])
    hub.add("me/bare", {"a.safetensors": WEIGHTS})
    bare = studio.add("me/bare")  # without a picture: it is tried on the photo that the others are shown on
    assert bare.preview
    assert bare.before == StyleLibrary.open()["monet"].before
    assert bare in studio.styles
    assert studio.add("me/sd-style").preview is None  # not for this base
    recipe = Recipe(mix=StyleMix.of("sketch"), size=96, num_inference_steps=1)
    first = studio.stylize(photo, recipe)
    said: list[str] = []
    with pytest.raises(BaseError, match="is not a base of the Hub"):
        studio.choose(str(root / "assets" / "pocket"), lambda text, _: said.append(text))
    with pytest.raises(BaseError):  # fetched, but it is no UNet
        studio.choose("me/sd", lambda text, _: said.append(text))
    assert any(text.startswith("Fetching me/sd") for text in said)
    assert studio.base == "pocket"
    studio.choose("pocket", lambda text, _: said.append(text))
    *_, again = studio.steps(photo, recipe.with_(base="another"))
    assert isinstance(again, Stylized)
    assert again.image.tobytes() == first.image.tobytes()
    assert "me--fog" in [style.name for style in studio.styles]


def test_styles_that_are_left_out_are_told_and_nothing_in_a_card_becomes_a_tag() -> None:
    notice = gallery._notice(["The style card fog/style.toml lacks 'title': add it.", "The style card a<b>/style.toml lacks x: add it."])
    assert notice.count("A style is left out.") == 2
    assert "fog/style.toml lacks" in notice
    assert "a&lt;b&gt;/style.toml" in notice
