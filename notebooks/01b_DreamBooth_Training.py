# %% [markdown]
# # 01b · DreamBooth
#
# The other way to teach a style: not a small file beside the base, but the base's own weights. This notebook trains one, and a LoRA on
# the same pairs, and puts size, cost and pictures side by side. Then it squeezes the DreamBooth into a LoRA.
#
# **The idea** ([Ruiz et al. 2023](https://arxiv.org/abs/2208.12242)). The style is tied to a prompt of its own. Who trains a network's
# own weights on a handful of pictures finds that it soon makes nothing else. So beside each picture of the style the model also sees a
# *class picture*, one that the base made itself, under the neutral prompt, and has to make it as before (*prior preservation*):
#
# $$L = L_\text{style} + \lambda\, L_\text{class}.$$
#
# Without its prompt, the tuned base is then still the base.

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
# The only cell to change. As it is: the pocket base, pencil drawings of a few photos made by a procedure as targets, some tens of steps.
# The pocket base reads no words, so the *embedding* of the prompt is learned with the weights.
#
# `FULL = True` is DreamBooth as the paper has it, on Stable Diffusion 1.5: 20 paintings, "sks style painting", 200 class pictures of "a
# painting", 1,000 steps at a rate of 0.000005, on a GPU. **It could not be tried here,** for want of the weights; the tests run the same
# code on small random models of the same classes.

# %%
from stylekit.storage.paths import PHOTOS_FOLDER
from training.loop import config
from training.style import dreambooth_settings, lora_settings
from training.style.dreambooth_settings import DreamBoothTraining
from training.style.lora_settings import LoraTraining

FULL = False

if FULL:
    BASE = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    SHARED = {"base": BASE, "style_pictures": ROOT / "data/monet", "limit": 20, "steps": 1000}
    OURS = {"trigger": "sks style painting", "class_prompt": "a painting", "class_count": 200}
    THEIRS = {"trigger": "an impressionist painting in the style of Claude Monet"}
else:
    BASE = "pocket"
    SHARED = {
        "photos": PHOTOS_FOLDER,
        "targets": "procedure:sketch",
        "limit": 3,
        "held_out": 1,
        "resolution": 96,
        "batch": 2,
        "steps": 24,
        "warmup": 2,
        "check_every": 6,
    }
    OURS = {"class_count": 3}
    THEIRS = {"rank": 4, "fine_rank": 16}
SHARED |= {"sample_every": 0, "previews": False, "track": "none"}

OURS |= SHARED | {"style": "tuned", "out": Path("styles/tuned/base"), "work": Path("work-tuned")}
THEIRS |= SHARED | {"style": "lora", "out": Path("styles/lora/base"), "work": Path("work-lora")}
tuning = config.build(DreamBoothTraining, {**dreambooth_settings.defaults(OURS), **OURS})
adapting = config.build(LoraTraining, {**lora_settings.defaults(THEIRS), **THEIRS})
SIZE = 512 if FULL else 240

# %% [markdown]
# ## What it learns from

# %%
from eval.showing import bars, lines, show_figure, show_pictures, show_table
from stylekit.formats import list_pictures
from stylekit.images import open_picture, to_picture
from training.pictures import data
from training.targets.pairs import make_pair

if tuning.mode == "pairs":
    pairs = [make_pair(path, 320, tuning.targets) for path in data.shipped_photos()[0][: tuning.limit]]
    show_pictures([[to_picture(picture) for picture in row] for row in zip(*pairs, strict=True)], names=["photo", "target"], side=180)
else:
    show_pictures([[open_picture(path) for path in list_pictures(tuning.style_pictures)[:6]]])

# %% [markdown]
# ## Two runs
#
# The same loop trains both; they differ in what of the model wants gradients. DreamBooth: attention and the outermost level, where lines
# are made. LoRA: two thin matrices in every layer.

# %%
import contextlib
import io
import shutil

from training import train_dreambooth, train_lora

with contextlib.redirect_stdout(io.StringIO()) as said:  # print(said.getvalue()) shows the whole log
    tuned = train_dreambooth.train(tuning)
    adapting.folder.mkdir()
    for path in tuning.folder.glob("pairs-*.pt"):  # they are the same: made once
        shutil.copy(path, adapting.folder)
    lora = train_lora.train(adapting)

# %% [markdown]
# The class pictures: what the base makes of photos without any style. They hold it to what it was.

# %%
made = sorted(tuning.folder.glob("class-*/*.png"))
show_pictures([[open_picture(path) for path in made[:6]]], side=150)

# %% [markdown]
# **The curves.** The error on a photo that neither saw, with the same crops for both, should fall. The error of the tuned base on its
# class pictures begins at nothing, since it begins as the base; it jumps while the weights move, and prior preservation brings it down
# again.

# %%
import json

from training.loop.tracking import METRICS_FILE


def read_log(folder):
    return [json.loads(line) for line in (folder / METRICS_FILE).read_text().splitlines()]


logs = {"DreamBooth": read_log(tuning.folder), "LoRA": read_log(adapting.folder)}
curves = {}
for name, log in logs.items():
    checked = [line for line in log if line.get("held_out")]
    curves[f"{name}, held out"] = ([line["step"] for line in checked], [line["held_out"]["l2"] for line in checked])
curves["DreamBooth, class pictures"] = (
    [line["step"] for line in logs["DreamBooth"]],
    [line["terms"]["prior"] for line in logs["DreamBooth"]],
)
show_figure(lines(curves, x="step", y="squared error of latents"))

# %% [markdown]
# ## Size and cost

# %%
from stylekit.adapters import deltas
from stylekit.adapters.lora_file import read_lora

delta = deltas.read_delta(tuned)
numbers = {
    "DreamBooth": sum(tensor.numel() for tensor in delta.tensors.values()),
    "LoRA": sum(down.numel() + up.numel() for down, up in read_lora(lora).modules.values()),
}
files = {"DreamBooth": tuned, "LoRA": lora}
show_table(
    [
        {
            "method": name,
            "trained numbers": f"{numbers[name]:,}",
            "file, MB": files[name].stat().st_size / 1e6,
            "samples a step": 2 * tuning.batch if name == "DreamBooth" else adapting.batch,
            "held-out error": next(reversed(curves[f"{name}, held out"][1]), "none held out"),
        }
        for name in logs
    ],
    digits=3,
)

# %% [markdown]
# Half of DreamBooth's samples are class pictures, which is what preservation costs. Seconds a step are not shown, because other programs
# on a machine move them; measured side by side, CPU seconds too, they are in [dreambooth.md](../docs/dreambooth.md), with Stable
# Diffusion's shapes: there the whole UNet is 860 million numbers against a LoRA's 0.8 million.
#
# ## Pictures
#
# Third column: the tuned weights *without* their prompt. With prior preservation that is near the base's own picture, the first column.

# %%
import dataclasses

from stylekit import Recipe, StyleMix
from stylekit.base import Base
from stylekit.pixels.contact_sheet import within
from stylekit.styles import StyleLibrary
from stylekit.stylizer import Stylizer

library = StyleLibrary.open("styles")
styles = [dataclasses.replace(style, hand=None) for style in library]
mute = deltas.write_delta(OUT / "mute.safetensors", delta.tensors, None, delta.base_digest, delta.metadata)
of_tuned = library["tuned"].adapter(BASE)
styles.append(dataclasses.replace(library["tuned"], name="mute", hand=None, adapters=(dataclasses.replace(of_tuned, path=mute),)))
stylizer = Stylizer(Base.open(BASE), StyleLibrary(styles=tuple(styles)))

photos = [within(open_picture(PHOTOS_FOLDER / f"{name}.jpg"), SIZE) for name in ("astronaut", "china")]


def painted(photo, style):
    return stylizer.stylize(photo, Recipe(mix=StyleMix.of(style) if style else StyleMix(), base=BASE)).image


COLUMNS = {"the base": "", "DreamBooth": "tuned", "without its prompt": "mute", "LoRA": "lora"}
rows = [[painted(photo, style) for style in COLUMNS.values()] for photo in photos]
show_pictures(rows, titles=list(COLUMNS), side=230)

# %%
import numpy as np

base, prompted, silent, _ = (np.asarray(picture, float) for picture in rows[0])
CHANGE = "mean change to the base's picture, of 255"
show_table(
    [
        {"DreamBooth": name, CHANGE: float(np.abs(changed - base).mean())}
        for name, changed in (("with its prompt", prompted), ("without", silent))
    ],
    digits=1,
)

# %% [markdown]
# ## A LoRA out of it
#
# The difference that DreamBooth made to a layer is a matrix. Its best approximation of rank $N$ are its $N$ largest singular values with
# their vectors (Eckart and Young 1936): a LoRA, which can then be mixed, shared and tried on related bases. How much of the squared
# change is kept:

# %%
from training import extract

neutral = stylizer.base.prompt_embeds()[0]
bare = Base.open(BASE, device="cpu")
kept = {rank: extract.extract(delta, bare.unet, neutral, rank, "extracted").kept for rank in (2, 8, 32)}
show_figure(bars({f"rank {rank}": 100 * share for rank, share in kept.items()}, title="kept of the squared change, per cent", digits=0))

# %% [markdown]
# The command `python -m training.extract` writes such a LoRA as a style, and a sheet: photo, DreamBooth, the LoRA out of it.

# %%
Path("shown").mkdir()
photos[1].save("shown/china.png")
with contextlib.redirect_stdout(io.StringIO()):
    command = [str(tuned), "--rank", "32", "--out", "styles/extracted/base", "--base", BASE, "--photos", "shown"]
    assert extract.main(command) == 0
show_pictures([[open_picture("styles/extracted/base/extraction.png")]], side=660)

# %% [markdown]
# ## Which to take
#
# A LoRA, unless you want a tuned base of your own. On the pocket base the pictures are alike, and the LoRA's file is smaller. What Stable
# Diffusion itself makes of either, nobody has seen here.
#
# Next: [02, making pictures](02_Inference_Pipeline.ipynb).
