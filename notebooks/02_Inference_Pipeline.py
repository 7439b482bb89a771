# %% [markdown]
# # 02 · From a photo to a picture
#
# One photo through the pipeline, and every dial on the way: strength, detail, masks, regions, mixes, and what the hand draws on top of
# what the model paints. All of it is three names of the library: `Stylizer`, `Recipe`, `StyleMix`.

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
# The only cell to change. `FULL = True` paints with Stable Diffusion 1.5, on a GPU; its weights (4.3 GB) come from the Hub at the first
# run. **They could not be downloaded where this was written,** so how its pictures look has not been seen. That the pipeline makes of
# given weights what diffusers' own makes, the tests say ([stable_diffusion.md](../docs/stable_diffusion.md)). All styles work there in
# words, nothing is trained.

# %%
from stylekit.storage.paths import PHOTOS_FOLDER

FULL = False

BASE = "stable-diffusion-v1-5/stable-diffusion-v1-5" if FULL else "pocket"
SIZE = 768 if FULL else 360  # pixels; long side of the photo
PHOTO = PHOTOS_FOLDER / "chelsea.jpg"  # or one of your own

# %% [markdown]
# ## Once: open
#
# `Stylizer.open` loads the base and the style cards. It is the slow part; afterwards pictures take a moment.

# %%
from eval.showing import show_pictures, show_table
from stylekit import Recipe, StyleMix, Stylizer
from stylekit.images import open_picture
from stylekit.pixels.contact_sheet import within

stylizer = Stylizer.open(BASE)
photo = within(open_picture(PHOTO), SIZE)
show_table(
    [
        {
            "style": style.name,
            "title": style.title,
            "painted by the model": stylizer.paints(Recipe(mix=StyleMix.of(style.name), base=BASE)),
            "drawn by a hand": style.hand is not None,
        }
        for style in stylizer.library
    ]
)

# %% [markdown]
# **A recipe** is every setting of one picture, and nothing else decides how it comes out. What is left out has a default.

# %%
recipe = Recipe(mix=StyleMix.of("vangogh"), seed=0, base=BASE)
result = stylizer.stylize(photo, recipe)
show_pictures([[photo, result.image]], titles=["photo", "vangogh"], side=330)

# %% [markdown]
# ## Strength
#
# From the photo (0) to the full style (1). At 0 the pixels are the photo's own, bit for bit. On the pocket base the dial is mostly the
# adapter's scale and how much the hand draws; on Stable Diffusion it is noise.

# %%
import numpy as np

STRENGTHS = (0.0, 0.3, 0.6, 1.0)
dial = [*(stylizer.stylize(photo, recipe.with_(strength=strength)).image for strength in STRENGTHS[:-1]), result.image]
assert np.array_equal(np.asarray(dial[0]), np.asarray(photo))
show_pictures([dial], titles=[f"{strength:g}" for strength in STRENGTHS], side=200)

# %% [markdown]
# ## Detail
#
# A factor on the lengths of the hand's marks. The same piece of the picture, pixel for pixel: look at how many strokes go along a brow,
# and what becomes of the whiskers.

# %%
BOX = (photo.width // 5, photo.height // 12, photo.width * 5 // 6, photo.height * 5 // 6)
marks = {detail: stylizer.stylize(photo, recipe.with_(detail=detail)).image for detail in (0.5, 2.0)} | {1.0: result.image}
show_pictures([[marks[detail].crop(BOX) for detail in sorted(marks)]], titles=[f"detail {detail:g}" for detail in sorted(marks)], side=None)

# %% [markdown]
# ## What the hand adds
#
# `hand=False` leaves the picture as the model paints it: colour and light, no stroke. The hand then draws at the photo's own size, by
# procedure. A style like *sketch* is drawn from the photo alone.

# %%
ROWS = ("monet", "sketch")
show_pictures(
    [[stylizer.stylize(photo, Recipe(mix=StyleMix.of(style), hand=hand, base=BASE)).image for hand in (False, True)] for style in ROWS],
    titles=["by the model alone", "finished"],
    names=ROWS,
    side=260,
)

# %% [markdown]
# ## A mask
#
# A strength may be a map: white is style, black is photo. Here the map is the subject, found by `stylekit.selection`, which knows edges
# and colours and no cats: it misses the chin. On the page such a map can be painted. Where it is 0 no pixel changes. That is a promise,
# so it is checked.

# %%
from stylekit.maps import WeightMap
from stylekit.selection import SUBJECT, Things

mask = Things(photo).thing(SUBJECT).resize(photo.size)
around = stylizer.stylize(photo, recipe.with_(strength=WeightMap.of(mask))).image
outside = np.asarray(mask) == 0
assert outside.any()
assert np.array_equal(np.asarray(around)[outside], np.asarray(photo)[outside])
show_pictures([[photo, mask.convert("RGB"), around]], titles=["photo", "the map", "style where it is white"], side=240)

# %% [markdown]
# ## Two styles in one picture
#
# A weight may be a map too, each style with its own: so the model runs once, whatever the number of styles ([maps.md](../docs/maps.md)).
# Left, two regions; middle, one style passing into the other; right, both everywhere at half their weight.

# %%
from PIL import ImageOps

subject = WeightMap.of(mask)
rest = WeightMap.of(ImageOps.invert(mask))
across = np.tile(np.linspace(0, 1, photo.width, dtype=np.float32), (photo.height, 1))
MIXES = {
    "each in its region": {"sketch": subject, "monet": rest},
    "from one to the other": {"ukiyoe": WeightMap.of(1 - across), "vangogh": WeightMap.of(across)},
    "half and half": {"monet": 0.5, "ukiyoe": 0.5},
}
mixed = [stylizer.stylize(photo, Recipe(mix=StyleMix.of(weights), base=BASE)).image for weights in MIXES.values()]
show_pictures([mixed], titles=list(MIXES), side=260)

# %% [markdown]
# ## A painting as the style
#
# Any picture can be a style of the mix. A network reads its manner and makes an adapter of it, with no training in between
# ([style_pictures.md](../docs/style_pictures.md)).

# %%
from stylekit.storage.paths import STYLES_FOLDER
from stylekit.style_picture.picture import StylePicture

painting = StylePicture.of(STYLES_FOLDER / "ukiyoe" / "paintings" / "great-wave.jpg")
after = stylizer.stylize(photo, Recipe(mix=StyleMix.of({painting.name: 1.0}), pictures=(painting,), base=BASE)).image
show_pictures([[painting.picture, after]], titles=["the painting", "the photo in its manner"], side=280)

# %% [markdown]
# ## The recipe travels with the picture
#
# It is written into the PNG. Read back, it makes the same pixels on the same machine.

# %%
import textwrap

result.image.save("vangogh.png", pnginfo=result.recipe.png_info())
again = stylizer.stylize(photo, Recipe.from_png("vangogh.png")).image
assert np.array_equal(np.asarray(again), np.asarray(result.image))
print("\n".join(textwrap.wrap(Recipe.from_png("vangogh.png").to_json(), 110)))

# %% [markdown]
# ## The other base
#
# With Stable Diffusion 1.5 the cells above stay as they are. What is new there: `prompt` (words of your own instead of the style's),
# `guidance_scale`, `sampler`, `structure` (how far the photo's layout is held on to inside the model). On a small GPU begin with `SIZE =
# 512`.
#
# Next: [03, the app](03_Demo_Application.ipynb).
