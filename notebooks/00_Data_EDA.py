# %% [markdown]
# # 00 · The data
#
# Before anything is trained: what pictures are there, how do photos and paintings differ, and what is likely to be wrong with them? At
# the end stands a training set whose two halves share no picture.
#
# You need no GPU and no network. As it is, this notebook looks at what the repository ships: twelve photos, and two paintings each by
# Monet, Van Gogh and Hokusai. Six paintings are enough to see *how* one looks, not to conclude anything about a painter. The report on
# the 1,356 pictures that the shipped adapters were tried on is `docs/data_report/report.md`.

# %%
# The same in every notebook: is everything installed, where is the clone, and where do results go?
import importlib.util
import os
import sys
import tempfile
from pathlib import Path

NEEDED = ("stylekit", "torch", "diffusers", "peft", "gradio", "matplotlib", "accelerate", "imagehash", "IPython")
missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
if missing:
    sys.exit(
        f"This notebook needs {', '.join(missing)}, which {sys.executable} does not have.\n"
        'In a clone of the repository run  python -m pip install -e ".[notebooks]"  in an environment of its own,\n'
        "choose that environment as the notebook's kernel, and restart the kernel."
    )

from stylekit.storage.paths import ROOT

if not (ROOT / "assets" / "pocket").is_dir():
    sys.exit('stylekit is installed without its data: in a clone of the repository run  python -m pip install -e ".[notebooks]"')
sys.path.append(str(ROOT))  # for app.py, which is in no package

RUNS = Path(os.environ.get("STYLEKIT_RUNS", ROOT / "runs")) / "notebooks"
try:
    RUNS.mkdir(parents=True, exist_ok=True)
    OUT = Path(tempfile.mkdtemp(dir=RUNS))
except OSError:  # a clone that may not be written to
    OUT = Path(tempfile.mkdtemp())
os.chdir(OUT)  # fresh and empty: whatever is written without a path lies here

# %% [markdown]
# ## Settings
#
# This is the only cell to change. `FULL = True` takes COCO's `val2017` and folders of WikiArt, which you unpack into `data/` in the clone
# first (5,000 photos, 1 GB; on Kaggle both are there as data sets to attach). Neither could be downloaded where this notebook was
# written; the same functions have read folders of both shapes that the tests make (`tests/training/test_prepare_sources.py`).

# %%
from stylekit.storage.paths import PHOTOS_FOLDER, STYLES_FOLDER

FULL = False

STYLES = ("monet", "vangogh", "ukiyoe")
if FULL:
    FOLDERS = {"photos": ROOT / "data/coco/val2017", **{style: ROOT / "data/wikiart" / style for style in STYLES}}
else:
    FOLDERS = {"photos": PHOTOS_FOLDER, **{style: STYLES_FOLDER / style / "paintings" for style in STYLES}}
LIMIT = 500 if FULL else None  # pictures of a folder that are measured, evenly from all
SIZE = 512 if FULL else 256  # pixels; the short side at which a style would be trained

# %% [markdown]
# ## A look
#
# No number replaces looking. Every row is a folder; up to eight of its pictures, chosen by their checksums, so that nobody picks the
# nicest.

# %%
from eval.explore import sample_sheet
from eval.measures import measure_folder
from eval.showing import show_figure, show_pictures, show_table

folders = [measure_folder(name, path, LIMIT) for name, path in FOLDERS.items()]
show_pictures([[sample_sheet(folders)]], side=None)

# %% [markdown]
# ## Numbers
#
# Each picture is measured in CIE L\*a\*b\*, a colour space in which equal distances look about equally large: L\* is lightness from 0
# (black) to 100 (white), chroma C\* the distance from grey. The table has medians.

# %%
from eval.explore import summarise
from eval.measures import MEASURES

summary = summarise(folders, SIZE)
show_table(
    [
        {"folder": entry["name"], "pictures": entry["pictures"]}
        | {title: entry["measures"][name]["median"] for name, title in MEASURES.items()}
        for entry in summary["folders"]
    ],
    digits=1,
)

# %% [markdown]
# **Sizes.** A dot is a picture. What lies left of the dashed line is smaller than the training size: enlarging it would teach blur.

# %%
from eval.explore_plots import plot_colours, plot_map, plot_palettes, plot_problems, plot_sizes, plot_tone

show_figure(plot_sizes(folders, SIZE), dpi=72)

# %% [markdown]
# **Light and colour.** Ask of each panel whether the style lies where the photos do not. Where it does, an adapter can learn it as colour
# and tone. Where style and photos overlap, what makes the style must be elsewhere: in the strokes, which these four measures hardly see.

# %%
show_figure(plot_tone(folders), dpi=72)

# %% [markdown]
# **Colours.** The pixels of each folder in the plane of a\* and b\*, in their own colours: grey is the centre, the rings are chroma 30
# and 60. Photos crowd around the centre. A painter's pigments pull the cloud out in a few directions.

# %%
show_figure(plot_colours(folders), dpi=64)

# %% [markdown]
# **Palettes.** The main colours of each folder; the width is their share of the pixels.

# %%
show_figure(plot_palettes(folders), dpi=72)

# %% [markdown]
# **A map.** Nine measures of colour and texture, reduced to the two directions in which the pictures differ most. Small dots are
# pictures, large ones the medians of folders. Folders that overlap here are alike in these nine numbers, not necessarily in style.

# %%
show_figure(plot_map(folders), dpi=64)

# %% [markdown]
# ## What is likely to be wrong
#
# Scans have borders and captions, collections hold the same work twice, files break on the way. `eval.explore` looks for ten such things.
# Its findings are hints to look at, not verdicts: a mist over the Thames is not a faded scan.

# %%
from eval.explore import findings

show_table([{"folder": entry["name"], "findings": "; ".join(findings(entry, SIZE))} for entry in summary["folders"]])

# %% [markdown]
# Are such faults really found? Here are eight good photos, and some that are spoiled on purpose: one file twice, a small pale JPEG of
# another, one in a paper margin, a foggy one, a colourless one, and a file that was cut off while it was copied.

# %%
import shutil

from PIL import ImageEnhance, ImageOps

from stylekit.formats import list_pictures
from stylekit.images import open_picture

collected = OUT / "collected"
collected.mkdir()
for path in list_pictures(PHOTOS_FOLDER)[:8]:
    shutil.copy(path, collected)
cat = open_picture(PHOTOS_FOLDER / "chelsea.jpg")
shutil.copy(PHOTOS_FOLDER / "coffee.jpg", collected / "same-file.jpg")
ImageEnhance.Brightness(cat.resize((300, 200))).enhance(1.15).save(collected / "another-scan.jpg", quality=60)
ImageOps.expand(open_picture(PHOTOS_FOLDER / "hopper.jpg"), 40, "#f4efe2").save(collected / "margin.jpg")
ImageEnhance.Contrast(open_picture(PHOTOS_FOLDER / "rocket.jpg")).enhance(0.12).save(collected / "fog.jpg")
ImageOps.grayscale(open_picture(PHOTOS_FOLDER / "raccoon.jpg")).save(collected / "grey.jpg")
(collected / "cut-off.jpg").write_bytes((PHOTOS_FOLDER / "hubble.jpg").read_bytes()[:20_000])

spoiled = measure_folder("collected", collected)
show_figure(plot_problems(summarise([spoiled], SIZE)), dpi=72)
show_table(
    [{"problem": name, "files": ", ".join(files)} for name, files in summarise([spoiled], SIZE)["folders"][0]["problems"].items() if files]
)

# %% [markdown]
# Everything that was planted is named, and some more: fog looks like a plain border, and the stairs, the man with the camera and the
# coins were grey from the start. That is why these are hints. A colourless photo is only a fault in a set that has colour.
#
# ## A split without duplicates
#
# `training.prepare` makes a training set of a folder: resized, with captions, with the source and the licence of every picture in a
# manifest. Which side of the split a picture falls on depends on its checksum alone, so that adding pictures moves none. Copies and near
# copies are left out *before* the split: the same work on both sides would make the held-out loss a lie.

# %%
from training.pictures.preparation import Preparation
from training.pictures.write import summary as in_words
from training.prepare import prepare

source = FOLDERS["monet"] if FULL else collected
report, _ = prepare(
    Preparation(
        sources=(source,), out=OUT / "prepared", style="mine", trigger="a mine painting", size=SIZE, split=0.7, license="see the source"
    )
)
print(in_words(report))

# %% [markdown]
# And the check: measure both sides as if they were two collections, and look for pictures that are alike across them. The hash finds
# copies and other scans, not the same work in a frame or in another crop: so look at the two rows as well.

# %%
sides = [measure_folder(side, OUT / "prepared" / side) for side in ("train", "held_out")]
across = summarise(sides, SIZE)["alike_across_folders"]
assert across == [], across
show_pictures(
    [[open_picture(side.path / one.file) for one in side.measures[:8]] for side in sides], names=[side.name for side in sides], side=100
)

# %% [markdown]
# ## At full scale
#
# With `FULL = True` the cells above read COCO and WikiArt. The training set that the next notebook wants is made by the same `prepare`,
# once, on the command line:
#
# ```
# python -m training.prepare data/wikiart/monet --out data/monet --style monet \
#     --trigger "an impressionist painting in the style of Claude Monet"
# ```
#
# Licences are recorded, not judged: some of COCO's forbid changes. Next: [01a, a LoRA](01a_LoRA_Training.ipynb).
