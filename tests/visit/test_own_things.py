"""What is one's own, a taught style or a picture brought along: called otherwise, saved, removed; and titles that are taken."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

import app
from stylekit.errors import SettingError, StyleError
from stylekit.storage import taught
from stylekit.storage.paths import STYLES_FOLDER
from stylekit.studio import Studio
from stylekit.style_picture.picture import StylePicture
from stylekit.styles import CARD_FILE, StyleLibrary, read_style
from tests.browser import WAIT, FakeEngine, button, download, drop, finish, label, serve, start, status, take


@pytest.fixture
def styles(tmp_path: Path) -> Path:
    """A folder with a style of ours and one that was taught."""
    folder = tmp_path / "styles"
    shutil.copytree(STYLES_FOLDER / "engraving", folder / "engraving")
    shutil.copytree(STYLES_FOLDER / "monet", folder / "harbour")
    card = folder / "harbour" / CARD_FILE
    lines = [f'made = "Taught. {taught.MARK}"' if line.startswith("made =") else line for line in card.read_text().splitlines()]
    lines = ['title = "Harbour at night"' if line.startswith("title =") else line for line in lines]
    card.write_text("\n".join(lines) + "\n")
    return folder


# ---- taught styles


def test_a_taught_style_is_called_otherwise_packed_and_removed(styles: Path, tmp_path: Path) -> None:
    style = read_style(styles / "harbour" / CARD_FILE)
    assert taught.is_taught(style)
    assert not taught.is_taught(read_style(styles / "engraving" / CARD_FILE))
    called = taught.retitle(style, '  The "old"  pier ')
    assert called.title == 'The "old" pier'
    assert called.name == "harbour"
    assert StyleLibrary.open(styles)["harbour"] == called
    with pytest.raises(SettingError, match="cannot be called ''"):
        taught.retitle(called, "  ")
    packed = taught.pack(called, tmp_path)
    shutil.unpack_archive(packed, tmp_path / "elsewhere")
    assert StyleLibrary.open(tmp_path / "elsewhere")["harbour"].title == called.title
    with zipfile.ZipFile(packed) as archive:
        assert all(name.startswith("harbour/") for name in archive.namelist())
    taught.discard(called)
    assert [path.name for path in styles.iterdir()] == ["engraving"]
    with pytest.raises(StyleError, match="not where it was"):
        taught.discard(called)
    for change in (lambda s: taught.retitle(s, "Mine"), taught.discard):
        with pytest.raises(StyleError, match="was not taught here"):
            change(read_style(styles / "engraving" / CARD_FILE))


def test_a_title_that_is_taken_is_refused_at_once(styles: Path) -> None:
    studio = Studio("pocket", styles)
    with pytest.raises(SettingError, match="There is a style called harbour  AT night already"):
        next(app.teach(studio, styles, " harbour  AT night ", [STYLES_FOLDER / "monet" / "preview.jpg"]))
    with pytest.raises(SettingError, match="called Engraving already"):
        studio.retitle("harbour", "Engraving")
    assert studio.retitle("harbour", "HARBOUR at night").title == "HARBOUR at night"
    studio.discard("harbour")
    assert [style.name for style in studio.styles] == ["engraving"]


def test_the_gallery_renames_saves_and_removes_what_was_taught(browser: Browser, styles: Path, tmp_path: Path) -> None:
    with serve(app.build(app.Settings(styles=styles, teach=True))) as url:
        page = browser.new_page(accept_downloads=True)
        page.set_default_timeout(WAIT)
        page.goto(f"{url}#gallery")
        page.get_by_role("button", name="Look at Engraving", exact=True).click()
        expect(page.locator("#piece-label h2")).to_have_text("Engraving")
        expect(page.locator("#taught-tools")).to_be_hidden()
        page.get_by_role("button", name="Look at Harbour at night", exact=True).click()
        expect(page.locator("#taught-title input, #taught-title textarea")).to_have_value("Harbour at night")
        page.locator("#taught-title input, #taught-title textarea").fill("engraving")
        page.locator("#taught-rename").click()
        expect(page.locator("#taught-status")).to_contain_text("There is a style called engraving already")
        page.locator("#taught-title input, #taught-title textarea").fill("Old pier")
        page.locator("#taught-rename").click()
        expect(page.locator("#piece-label h2")).to_have_text("Old pier")
        expect(page.locator(".sk-card", has_text="Old pier")).to_be_visible()
        with page.expect_download() as caught:
            page.locator("#taught-export").click()
        assert caught.value.suggested_filename == "harbour.zip"
        page.once("dialog", lambda dialog: dialog.dismiss())
        page.locator("#taught-remove").click()
        page.wait_for_timeout(500)
        assert (styles / "harbour").is_dir()
        page.once("dialog", lambda dialog: dialog.accept())
        page.locator("#taught-remove").click()
        expect(page.locator(".sk-card")).to_have_count(1)
        expect(page.locator("#style label")).to_have_count(1)
        page.close()
    assert [path.name for path in styles.iterdir()] == ["engraving"]


# ---- pictures brought along


@pytest.fixture
def painting(tmp_path: Path) -> Path:
    noise = Image.effect_noise((240, 160), 90)
    path = tmp_path / "night_sky.png"
    Image.merge("RGB", (noise, noise.rotate(180), noise)).save(path)
    return path


def titles(page: Page) -> list[str]:
    return page.locator("#style label span").all_text_contents()


def test_a_picture_of_ones_own_is_renamed_saved_removed_and_keeps_its_name_in_a_png(
    page: Page, engine: FakeEngine, pictures: dict[str, Path], painting: Path, tmp_path: Path
) -> None:
    library = titles(page)
    drop(page, painting, "#style")
    expect(page.locator("#own-title input, #own-title textarea")).to_have_value("Night sky", timeout=WAIT)
    page.locator("#own-title input, #own-title textarea").fill("Milky way")
    page.locator("#own-rename").click()
    expect(status(page)).to_contain_text("called Milky way now", timeout=WAIT)
    assert titles(page) == [*library, "Milky way"]
    take(page, pictures["photo.jpg"])
    start(page)
    finish(page)
    expect(label(page)).to_contain_text("Made with Milky way")
    result = download(page, tmp_path)
    assert result.name == "photo-milky-way.png"
    with page.expect_download() as caught:
        page.locator("#own-export").click()
    caught.value.save_as(tmp_path / "again.jpg")
    assert (tmp_path / "again.jpg").read_bytes() == StylePicture.of(painting).jpeg
    button(page, "Remove").click()
    expect(status(page)).to_contain_text("no longer among the styles", timeout=WAIT)
    assert titles(page) == library
    expect(page.locator("#own-tools")).to_be_hidden()
    drop(page, result)
    expect(status(page)).to_contain_text("Settings restored", timeout=WAIT)
    assert titles(page) == [*library, "Milky way"]
