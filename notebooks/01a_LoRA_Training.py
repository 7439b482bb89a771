# %% [markdown]
# # 01a · A LoRA
#
# A few pictures of a style become a small file that teaches a base model the style. You see what it learns from, the run, its curve, what
# the adapter makes of photos it was not trained on, and how it behaves when its weight is turned up and down.
#
# **The idea** ([Hu et al. 2021](https://arxiv.org/abs/2106.09685)). A layer of the model is a matrix $W$. Training does not touch it. It
# learns two thin matrices beside it, and the layer then computes with $W + s\,BA$:
#
# $$y = Wx + s\,B(Ax), \qquad A \in \mathbb{R}^{r \times n},\; B \in \mathbb{R}^{m \times r},\; r \ll m, n.$$
#
# The rank $r$ is how much the change can hold: here 4. The factor $s$ is the weight you set later. $B$ starts as zero, so the first step
# starts from the untouched base.

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
# The only cell to change. As it is: the *pocket* base (35 MB, in the repository), two paintings by Van Gogh, and a short run: enough to
# see everything happen, too short for a good style (the shipped adapters took 220 to 1,800 steps).
#
# `FULL = True` trains on Stable Diffusion 1.5 by `training/configs/sd15/monet.yaml`, on 20 prepared paintings in `data/monet` (notebook
# 00 says how they get there). It wants a GPU. **That could not be tried here:** the weights could not be downloaded. The same code trains
# small random models of Stable Diffusion's classes in the tests, and a step at full width was measured on random weights
# ([sd15_benchmark.md](../docs/sd15_benchmark.md)).

# %%
from stylekit.storage.paths import PHOTOS_FOLDER, STYLES_FOLDER
from training.loop import config
from training.style.lora_settings import LoraTraining, defaults

FULL = False

if FULL:
    BASE = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    VALUES = config.read_yaml(ROOT / "training/configs/sd15/monet.yaml") | {
        "style_pictures": ROOT / "data/monet",
        "limit": 20,
    }
else:
    BASE = "pocket"
    VALUES = {
        "style_pictures": STYLES_FOLDER / "vangogh" / "paintings",
        "limit": 8,  # photos
        "held_out": 2,
        "steps": 60,
        "warmup": 4,
        "rank": 4,
        "fine_rank": 4,
        "resolution": 96,  # pixels of a training crop
        "views": 1,  # times that each photo is cut, mirrored and lit anew
        "check_every": 15,
        "sample_every": 60,
    }
VALUES |= {"style": "mine", "out": Path("styles/mine/base"), "work": Path("work"), "previews": False, "track": "none"}
settings = config.build(LoraTraining, {**defaults(VALUES), **VALUES})
SIZE = 512 if FULL else 240  # pixels; long side of the pictures made below

# %% [markdown]
# ## What it learns from
#
# The style:

# %%
from eval.showing import lines, show_figure, show_pictures, show_table
from stylekit.formats import list_pictures
from stylekit.images import open_picture
from training.pictures.pictures import find_pictures

art = find_pictures(settings.style_pictures, settings.limit, settings.held_out, print if FULL else lambda text: None).train
show_pictures([[open_picture(path) for path in art[:6]]], side=240)

# %% [markdown]
# On Stable Diffusion these pictures would be learned as they are: noise is put on them, and the model learns to take it off again, under
# the trigger words.
#
# The pocket base restyles photos at low noise, so it learns from **pairs**: a photo, and what it should become. Of two paintings there
# are no such pairs, so they are made: the photo recoloured by a procedure that has measured the light and the pigments of the paintings
# (`training/targets/palette.py`). Pairs hold colour and light alone. Brush strokes come later, from the *hand*, for a small network that
# learns strokes from averages paints a blur.

# %%
import random

import numpy as np

from stylekit.images import to_picture
from training.pictures import data
from training.targets import palette
from training.targets.pairs import varied_pair

if settings.mode == "pairs":
    learners, held_out = data.shipped_photos()
    manner = palette.measured_manner([np.asarray(data.without_border(open_picture(path))) for path in art])
    colours = palette.learn(palette.small_photos(learners), palette.small_paintings(art), manner)
    pairs = [varied_pair(path, colours, random.Random(3)) for path in learners[1:5]]
    show_pictures([[to_picture(picture) for picture in row] for row in zip(*pairs, strict=True)], names=["photo", "target"], side=120)

# %% [markdown]
# ## The run
#
# The same function that `python -m training.train_lora` calls. It looks at all settings first, makes and keeps the pairs, trains, and
# saves its whole state now and then: interrupted, the same call goes on from there.

# %%
import contextlib
import io

from training import train_lora

with contextlib.redirect_stdout(io.StringIO()) as said:  # it tells a lot, the places of its files too: print(said.getvalue())
    adapter = train_lora.train(settings)

# %%
import json

from training.loop.tracking import METRICS_FILE
from training.style.records import RECORD_FILE

record = json.loads((settings.out / RECORD_FILE).read_text())
log = [json.loads(line) for line in (settings.folder / METRICS_FILE).read_text().splitlines()]
show_table(
    [
        {key: record[key] for key in ("base", "mode", "pictures", "items")}
        | {"steps": log[-1]["step"], "seconds of training": log[-1]["seconds"]}
    ]
)

# %% [markdown]
# **The curve.** The loss of each step jumps, since every step draws other pictures at another noise. The held-out loss is taken on photos
# that are never trained on, always the same crops under the same noise: that is the line to look at. Where it turns up again while the
# loss of the steps still falls, the run is learning its pictures by heart.

# %%
checked = [line for line in log if line.get("held_out")]
show_figure(
    lines(
        {
            "each step": ([line["step"] for line in log], [line["loss"] for line in log]),
            "held out": ([line["step"] for line in checked], [line["held_out"]["loss"] for line in checked]),
        },
        x="step",
        y="loss",
    )
)

# %% [markdown]
# **Sample grids** are painted while it trains: photos that it never sees, below them the adapter at half and at full strength. At step 0
# the adapter does nothing, so that what differs from the photo is the base's own doing.

# %%
grids = list_pictures(settings.folder / "samples")
show_pictures(
    [[open_picture(grids[0]), open_picture(grids[-1])]], titles=["before the first step", f"after step {log[-1]['step']}"], side=330
)

# %% [markdown]
# ## How small it is

# %%
from stylekit.adapters.lora_file import read_lora
from stylekit.styles import StyleLibrary
from stylekit.stylizer import Stylizer

stylizer = Stylizer.open(BASE, settings.out.parent.parent)
trained = sum(down.numel() + up.numel() for down, up in read_lora(adapter).modules.values())
whole = sum(parameter.numel() for parameter in stylizer.base.unet.parameters())
show_table(
    [
        {"what": "the base's denoiser", "numbers": f"{whole:,}"},
        {
            "what": f"this LoRA, rank {settings.rank}",
            "numbers": f"{trained:,}",
            "of the base": f"{trained / whole:.1%}",
            "file": f"{adapter.stat().st_size / 1e6:.2f} MB",
        },
    ]
)

# %% [markdown]
# ## Try it at several weights
#
# The run has also written a first style card, so the style is in the library like any other. `hand=False` shows the model's picture
# alone. At weight 0 the photo is left alone; 1 is what it was trained for. Beyond 1 the change is exaggerated: first the colours, then
# the faults.

# %%
from stylekit import Recipe, StyleMix
from stylekit.pixels.contact_sheet import within

photos = [within(open_picture(PHOTOS_FOLDER / f"{name}.jpg"), SIZE) for name in ("astronaut", "china")]
WEIGHTS = (0.0, 0.5, 1.0, 2.0)


def painted(photo, weight, hand):
    return stylizer.stylize(photo, Recipe(mix=StyleMix.of({"mine": weight}), hand=hand, base=BASE)).image


alone = [[painted(photo, weight, hand=False) for weight in WEIGHTS] for photo in photos]
show_pictures(alone, titles=[f"weight {weight:g}" for weight in WEIGHTS], side=190)

# %% [markdown]
# **And the hand.** From the same paintings the run has measured how broad and how long their marks are, and written a hand into the card.
# It draws such strokes with the colours that the adapter has painted. Left the adapter alone, right the finished picture; beside it Van
# Gogh as he ships, after 500 steps on many paintings.

# %%
shipped = stylizer.with_library(StyleLibrary.open())
show_pictures(
    [
        [
            photo,
            row[WEIGHTS.index(1.0)],
            painted(photo, 1.0, hand=True),
            shipped.stylize(photo, Recipe(mix=StyleMix.of("vangogh"), base=BASE)).image,
        ]
        for photo, row in zip(photos, alone, strict=True)
    ],
    titles=["photo", "this LoRA", "with the hand", "vangogh as it ships"],
    side=190,
)

# %% [markdown]
# ## What to take home
#
# - A LoRA is a small difference; it never replaces the base. What the base cannot do (here: understand a face) no LoRA of it can.
# - Judge by the held-out loss and by pictures of photos that were not trained on, side by side at several weights.
# - 20 pictures and some hundred steps are where it gets good: [the training guide](../docs/training_guide.md).
#
# Next: [01b, DreamBooth](01b_DreamBooth_Training.ipynb), which changes the base itself.
