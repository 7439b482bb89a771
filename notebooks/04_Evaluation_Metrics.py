# %% [markdown]
# # 04 · Metrics
#
# Is it still the photo? Is it in the style? Every number that the reports use, tried on pictures of which the answer is known: the photo
# itself, blurs of rising width, a shift by two pixels. A metric that fails there need not be believed elsewhere. What each can and cannot
# say at length: [evaluation_metrics.md](../docs/evaluation_metrics.md).

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
# The only cell to change. As it is, features come from the *embedded* network of the repository. **Its LPIPS, FID and KID rank rows of
# one table and are not those of papers.** `FULL = True` takes the standard networks (AlexNet, VGG16 and FID's Inception, downloaded once)
# and Stable Diffusion 1.5. For numbers of style it then needs pictures to measure against, `data/art/sketch` and so on, since the
# committed ones are of the embedded network. **None of that could be downloaded, nor tried, where this was written.**

# %%
from stylekit.storage.paths import PHOTOS_FOLDER

FULL = False

BACKBONE = "standard" if FULL else "embedded"
BASE = "stable-diffusion-v1-5/stable-diffusion-v1-5" if FULL else "pocket"
ART = ROOT / "data/art" if FULL else None
NAMES = ("china", "coffee")
SIDE = 512 if FULL else 256  # pixels; long side of the photos
STYLES = ("monet", "sketch")

# %% [markdown]
# ## Pictures of which the answer is known
#
# A method is a function from a photo to a picture. To those that are compared in reports (the photo itself, the base alone, the finished
# picture, the LoRA alone, the classical one-pass network) come some that only spoil.

# %%
import numpy as np
from PIL import ImageChops, ImageEnhance, ImageFilter

from eval.methods import Method
from eval.run import make_plan
from eval.scores import Plan, Score, score_photos
from eval.showing import bars, lines, show_figure, show_pictures, show_table
from stylekit.images import open_picture
from stylekit.pixels.contact_sheet import within
from stylekit.stylizer import Stylizer

SPOILED = {f"blur {width}": (lambda photo, width=width: photo.filter(ImageFilter.GaussianBlur(width))) for width in (1, 2, 4)}
SPOILED["shifted by 2 px"] = lambda photo: ImageChops.offset(photo, 2, 0)
SPOILED["darker by a fifth"] = lambda photo: ImageEnhance.Brightness(photo).enhance(0.8)
SPOILED["mirrored"] = lambda photo: photo.transpose(0)

photos = [OUT / f"{name}.png" for name in NAMES]
for path in photos:
    within(open_picture(PHOTOS_FOLDER / f"{path.stem}.jpg"), SIDE).save(path)
engine = Stylizer.open(BASE)
real = make_plan(
    engine,
    base=BASE,
    styles=STYLES,
    methods=("identity", "base", "hand", "lora", "classical"),
    backbone=BACKBONE,
    cache=OUT / "cache",
    art=ART,
)
methods = [*real.methods, *(Method(name=name, paint=lambda photo, style, spoil=spoil: spoil(photo)) for name, spoil in SPOILED.items())]
plan = Plan(styles=STYLES, methods=methods, backbone=real.backbone, references=real.references, cache=real.cache)
scores = [score for score in score_photos(photos, plan) if isinstance(score, Score)]
assert len(scores) == len(photos) * len(plan.jobs)


def mean(key, method, style=STYLES[0]):
    return float(np.mean([getattr(score, key) for score in scores if score.method == method and score.style in ("", style)]))


def thumb(method, style=STYLES[0]):
    return open_picture(plan.cache / next(score.thumb for score in scores if score.method == method and score.style in ("", style)))


show_pictures(
    [
        [thumb(name) for name in ("identity", "blur 2", "blur 4", "mirrored")],
        [thumb(name) for name in ("base", "lora", "hand", "classical")],
    ],
    side=200,
)

# %% [markdown]
# First row: the photo, two blurs, mirrored. Second row, in the style of Monet: the base alone, the LoRA alone, the finished picture, the
# classical network.
#
# ## How much of the photo is left
#
# - **SSIM** (Wang et al. 2004) compares brightness, contrast and pattern in small windows: 1 for the same picture.
# - **LPIPS** (Zhang et al. 2018) compares deep features, weighted as people judged likeness: 0 for the same picture.
# - **Content loss** (Gatys et al. 2016) compares the features of one deep layer; **CFSD** (Chung et al. 2024) which patches are like
#   which.

# %%
CONTENT = {"SSIM": "ssim", "LPIPS": "lpips", "content loss": "content_loss", "CFSD": "cfsd"}
show_table([{"picture": method.name} | {title: mean(key, method.name) for title, key in CONTENT.items()} for method in methods], digits=3)

# %% [markdown]
# What must hold, holds: the photo itself scores exactly 1 and 0, and more blur is worse in every one of them.

# %%
assert mean("ssim", "identity") == 1
for key in ("lpips", "content_loss", "cfsd"):
    assert abs(mean(key, "identity")) < 1e-6
    assert mean(key, "identity") < mean(key, "blur 1") < mean(key, "blur 2") < mean(key, "blur 4")
assert 1 > mean("ssim", "blur 1") > mean("ssim", "blur 2") > mean("ssim", "blur 4")

# %% [markdown]
# What they cannot say shows in the same table. A shift by two pixels, which nobody sees, costs SSIM more than a visible blur; LPIPS minds
# it less than the middle blur. A mirrored photo has lost everything for SSIM and is a perfectly good photo. And **hand** lies below the
# blurs in SSIM, since every stroke is change: a low SSIM says that little of the photo's pixels is left, not that the picture is bad.
#
# ## How near it is to the style
#
# - **Style loss** (Gatys et al. 2016): distance of Gram matrices, which features occur together, anywhere.
# - **Colour distance**: distance of the colours alone, in units of L\*a\*b\*.
# - **Style reached**: on the line from photos (0) to pictures of the style (1), drawn by Fisher's discriminant so that a trip through the
#   base's autoencoder does not count.

# %%
STYLE = {"style loss": "style_loss", "colour distance": "colour_distance", "style reached": "reached"}


def to_style(method, style):
    found = [score.to_style[style] for score in scores if score.method == method and style in score.to_style and score.style in ("", style)]
    return {title: float(np.mean([one[key] for one in found])) for title, key in STYLE.items() if found and key in found[0]}


COMPARED = ("identity", "base", "blur 4", "lora", "hand", "classical")
show_table([{"style": style, "method": method} | to_style(method, style) for style in STYLES for method in COMPARED], digits=3)

# %% [markdown]
# Blur changes much of a photo and leads to neither style, so a number that rose with any change would be found out here. The classical
# network has the lowest style loss, which is no surprise, for that is the kind of number it was trained on. The Monet LoRA alone reaches
# little: it paints colour and light, the strokes come from the hand.

# %%
found = {(style, method): to_style(method, style).get("style reached", 0.0) for style in STYLES for method in COMPARED}
for style in STYLES:
    show_figure(bars({method: found[style, method] for method in COMPARED}, title=f"style reached, {style}: 0 is a photo, 1 is the style"))

# %% [markdown]
# ## Sets of pictures: FID and KID
#
# Both compare two *sets* by one vector for each picture. **FID** (Heusel et al. 2017) is the Fréchet distance of two Gaussians, known in
# closed form. For means $m$ apart and covariances $I$ and $s^2 I$ in $d$ dimensions it is $|m|^2 + d\,(1-s)^2$:

# %%
import torch

from eval.metrics.fid import FeatureStats, frechet_distance, kernel_distance

d, s, m = 8, 1.5, torch.full((8,), 0.5, dtype=torch.float64)
ours = FeatureStats(mu=torch.zeros(d, dtype=torch.float64), sigma=torch.eye(d, dtype=torch.float64), n=100)
theirs = FeatureStats(mu=m, sigma=s**2 * torch.eye(d, dtype=torch.float64), n=100)
expected = float(m @ m) + d * (1 - s) ** 2
print(f"FID of the two Gaussians: {frechet_distance(ours, theirs):.6f}; in closed form {expected:.6f}")
assert abs(frechet_distance(ours, theirs) - expected) < 1e-9
assert frechet_distance(ours, ours) < 1e-9

# %% [markdown]
# **FID of few pictures is too high.** Take pictures of one style, part them into two halves at random, and compare the halves: the true
# distance is 0. FID is far from it, and the farther the fewer pictures there are. **KID** (Bińkowski et al. 2018) is unbiased: it stays
# around 0, on either side. Both figures are means over five ways to part the pictures. So FIDs can only be compared at the same number of
# pictures (*FID@N*), and with 150 photos KID is the number to read.

# %%
vectors = real.references[STYLES[0]].vectors
orders = [torch.randperm(len(vectors), generator=torch.Generator().manual_seed(seed)) for seed in range(5)]
counts = [n for n in (8, 16, 24, 32, 48, 64) if 2 * n <= len(vectors)]


def of_halves(distance):
    """Its mean over the orders, at each count."""
    return [float(np.mean([distance(vectors[order[:n]], vectors[order[n : 2 * n]]) for order in orders])) for n in counts]


fids = of_halves(lambda a, b: frechet_distance(FeatureStats.of(a), FeatureStats.of(b)))
kids = of_halves(lambda a, b: kernel_distance(a, b)[0])
show_figure(lines({"FID of two halves of the same": (counts, fids)}, x="pictures in each half", y="FID, the truth is 0"))
show_figure(lines({"KID of two halves of the same": (counts, kids)}, x="pictures in each half", y="KID, the truth is 0"))
print(f"KID of half the pictures to the other half, at {counts[-1]} each: {kids[-1]:+.4f}")
assert fids[0] > fids[-1] > 0
assert max(map(abs, kids)) < 0.03  # photos are 0.12 from these in the COCO report

# %% [markdown]
# ## To take home
#
# Read content and style together: a method is better than another only where it is not worse in either. Look at the photo itself first,
# it is where every number starts. And look at the pictures: no number here knows a face.
#
# At full scale, 150 COCO photos and every method:
#
# ```
# python -m eval.run --base stable-diffusion-v1-5/stable-diffusion-v1-5 --photos data/coco/val2017 --limit 150 --styles monet \
#     --methods identity,base,prompt,lora,dreambooth,classical,hand --art data/art --backbone standard --no-sheets --out report/sd15
# ```
#
# Next: [05, results](05_Results_Analysis.ipynb).
