# %% [markdown]
# # 03 · The app
#
# The web page is built and started from this notebook, asked for a picture by a program, and closed again. The page itself is better
# looked at in a browser: `python app.py` in the clone, then the address that it prints.

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
# The only cell to change. `FULL = True` starts the page on Stable Diffusion 1.5 and opens a public link (`share`) through Gradio's
# servers: what one needs on Colab and Kaggle, where the notebook's machine cannot be reached from your browser. The link lives as long as
# the cell, at most a week, and anyone who has it can use the page. **Neither the base's weights nor a public link could be tried where
# this was written.**

# %%
from stylekit.storage.paths import PHOTOS_FOLDER

FULL = False

os.environ["STYLEKIT_BASE"] = "stable-diffusion-v1-5/stable-diffusion-v1-5" if FULL else "pocket"
SHARE = FULL
PHOTO = PHOTOS_FOLDER / "coffee.jpg"

# %% [markdown]
# ## Build and start
#
# `app.build` puts the page together; all its settings come from the environment ([all of
# them](../docs/hub_and_spaces.md#settings-of-the-app)). `prevent_thread_lock` lets the notebook go on while the page runs on a free port
# of this machine.

# %%
import app
import stylekit.stylizer  # noqa: F401  (torch and diffusers, which the page would otherwise load while it starts)

page = app.build(app.Settings())
_, address, public = page.launch(prevent_thread_lock=True, inline=False, quiet=True, share=SHARE, **app.launch_options(app.Settings()))
assert address.startswith("http://127.0.0.1:"), address
print("The page runs." if public is None else f"The page runs at {public}")

# %% [markdown]
# What is on it, without a screenshot: the tabs, from the page's own description.

# %%
import gradio as gr

from eval.showing import show_pictures, show_table

for tab in (block for block in page.blocks.values() if isinstance(block, gr.Tab)):
    print(tab.label)

# %% [markdown]
# ## Ask it from a program
#
# The endpoint `/stylize` takes a photo and what the page's controls have. Its arguments, as the running page tells them to any client:

# %%
from gradio_client import Client, handle_file

client = Client(address, verbose=False, download_files=str(OUT / "results"))
told = client.view_api(print_info=False, return_format="dict")["named_endpoints"]["/stylize"]["parameters"]
show_table(
    [
        {"argument": one["parameter_name"], "default": repr(one["parameter_default"]) if one["parameter_has_default"] else "needed"}
        for one in told
    ]
)

# %%
from stylekit.images import open_picture

answer = client.predict(handle_file(PHOTO), style="vangogh:0.6,ukiyoe:0.4", strength=0.9, seed=7, size=400, api_name="/stylize")
show_pictures([[open_picture(PHOTO), open_picture(answer)]], titles=["sent", "came back"], side=380)

# %% [markdown]
# The answer is a PNG of the photo's size with its recipe in it, so that anyone can make it again.

# %%
from stylekit.recipe import Recipe

recipe = Recipe.from_png(answer)
print(recipe.mix, "| strength", recipe.strength, "| seed", recipe.seed, "| size", recipe.size)

# %% [markdown]
# **A mistake** comes back as a sentence that says what to do.

# %%
from gradio_client.exceptions import AppError

try:
    client.predict(handle_file(PHOTO), style="mone", api_name="/stylize")
except AppError as error:
    print(error)
else:
    raise AssertionError("there is no style mone")

# %% [markdown]
# ## Close
#
# Leave this cell out to go on using the page.

# %%
if not FULL:
    page.close(verbose=False)

# %% [markdown]
# ## Elsewhere
#
# **Colab or Kaggle**, with a GPU: set `FULL = True` and open the public link, or in a cell of its own, after installing:
#
# ```
# !GRADIO_SHARE=True STYLEKIT_BASE=stable-diffusion-v1-5/stable-diffusion-v1-5 python app.py
# ```
#
# **A Space** on Hugging Face, at an address of its own; a free CPU machine is enough for the pocket base
# ([tutorial](../docs/tutorials/deploy_a_space.md)). What would be pushed can be seen without an account:

# %%
import contextlib
import io

from training import push_space

with contextlib.redirect_stdout(io.StringIO()) as said:
    assert push_space.main(["OWNER/NAME", "--dry-run"]) == 0
print(said.getvalue().splitlines()[-1])

# %% [markdown]
# ```
# hf auth login
# python -m training.push_space OWNER/NAME
# ```
#
# Next: [04, metrics](04_Evaluation_Metrics.ipynb).
