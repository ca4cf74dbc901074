# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 00 · Label noising: what the teacher is shown
#
# Label Assisted Distillation gives a light teacher the image **and its label**. Shown plainly, the label would be the answer, and
# there would be nothing to learn. So it is first *noised*: class ids become random codes, one scalar channel carries all of them,
# and every pixel gets a little noise. Regions survive, names do not.
#
# This notebook takes one frame through the **label noising module** (LNM), step by step, after the paper's figure 3.

# %% [markdown]
# ## Parameters
#
# papermill replaces these; `labkit run noising --set name=value` checks them first.

# %% tags=["parameters"]
dataset: str = "streets"  # name of a file in labkit/datasets
recipe: str = "default"  # one of the data set's recipes: the frame's size
data_root: str = ""  # folder that holds the data sets; "": environment variable LABKIT_DATA
frame: int = 0  # index in the validation split
class_std: float = 1.0  # std of the random class weights
pixel_std: float = 0.03  # std of the pixel noise, in units of the class weights
label_scale: float = 1.0  # label channel, in units of the normalised image's std
void_policy: str = "own"  # void has its own weight, or weight 0
label_channels: int = 1  # independent codes per class
weights: str = "random"  # class weights drawn, or the fixed ramp
seed: int = 0  # of the draw
runs: str = ""  # folder of run folders; "": runs/ of the project
figures: str = ""  # where figures go; "": figures/<dataset> beside the run folders

# %%
import torch

from labkit import plots, products
from labkit.config import NoisingSettings
from labkit.datasets import dataset_info, dataset_recipe, open_split
from labkit.lnm import LabelNoising
from labkit.records import figures_folder
from labkit.streams import stream_generator

# %%
settings = NoisingSettings(
    dataset=dataset,
    recipe=recipe,
    data_root=data_root,
    frame=frame,
    class_std=class_std,
    pixel_std=pixel_std,
    label_scale=label_scale,
    void_policy=void_policy,
    label_channels=label_channels,
    weights=weights,
    seed=seed,
    runs=runs,
    figures=figures,
)

# %% [markdown]
# ## One frame
#
# The target $y(p)$ holds a class id in $0..K-1$ for every pixel $p$, or void where nothing was labelled.

# %%
info = dataset_info(settings.dataset)
size = dataset_recipe(settings.dataset, settings.recipe)
split = open_split(settings.dataset, "val", root=settings.data_root, size=settings.frame + 1, height=size.height, width=size.width)
image, target = split[settings.frame]
print(f"{split.frame_name(settings.frame)}: image {tuple(image.shape)}, target {tuple(target.shape)}, {info.num_classes} classes")

# %% [markdown]
# ## The module
#
# For every image one code per class is drawn, $w_k \sim \mathcal N(0, \sigma_c^2)$, and one for void. The label channel is
#
# $$ \ell(p) \;=\; s \,\Big( \sum_k w_k \,[\,y(p) = k\,] \;+\; e(p) \Big), \qquad e(p) \sim \mathcal N(0, \sigma_p^2) $$
#
# with `class_std` $\sigma_c$, `pixel_std` $\sigma_p$ and `label_scale` $s$.

# %%
noising = LabelNoising(
    num_classes=info.num_classes,
    class_std=settings.class_std,
    pixel_std=settings.pixel_std,
    label_scale=settings.label_scale,
    void_policy=settings.void_policy,
    label_channels=settings.label_channels,
    weights=settings.weights,
)
noising

# %% [markdown]
# ## The four steps
#
# One-hot, weighted, summed, noised. `LabelNoising` itself computes the sum as a gather, which is equal and needs no $K$-fold memory.

# %%
generator = stream_generator("explore noise", settings.seed)
steps = noising.steps(target[None], generator=generator)
codes = noising.draw_weights(1, generator=stream_generator("explore noise", settings.seed))[0, 0]
figure = plots.noising_figure(image, target, steps, codes, info)

# %%
label_channel = noising(target[None], generator=stream_generator("explore noise", settings.seed))
print("gather equals the formula:", torch.allclose(label_channel, steps.noised))

# %% [markdown]
# ## Can the label be read back?
#
# Within one image the codes are a few numbers. Where two lie closer together than the pixel noise, their classes cannot be told
# apart any more; across images the codes change, so no code ever means a class.

# %%
histogram = plots.code_histogram_figure(label_channel[0, 0], target, info)

# %% [markdown]
# ## Turn the knobs
#
# The same, live: watch the label drown. The readout says how much of the label the **best threshold decoder** can read back from the
# channel alone. It cuts the channel's values into intervals, one class each; for known codes, class shares and Gaussian noise no
# other decoder is right more often. Within *one* frame the codes are known to it; the teacher must do without, because they are
# drawn anew for every image.

# %%
from labkit import explorers, widgets

widgets.show(explorers.noising(settings))

# %% [markdown]
# ## Keep the picture
#
# Every figure carries its recipe in `MANIFEST.json` beside it.

# %%
folder = figures_folder(settings.figures, settings.runs, settings.dataset)
caption = f"Label noising of {split.frame_name(settings.frame)} ({settings.dataset}), seed {settings.seed}."
alt = f"A frame, its label, {info.num_classes + 1} one-hot maps, the same times random codes, their sum, and the sum with pixel noise."
products.save_figure(figure, folder / "noising.png", caption=caption, alt=alt, runs=[], parameters=settings.model_dump()).name
