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
# # 00 · Label noising
#
# **What you will learn**: what a teacher sees when its label is noised. Class ids become random codes, one scalar channel carries
# them, and every pixel gets a little noise: regions survive, ids do not.
#
# ![A frame, its label, and the noised label channel](../figures/streets/noising/noising.png)
#
# | word | meaning |
# |---|---|
# | plain | a teacher that sees the image alone |
# | assisted | a teacher that sees the image and its noised label |
# | foreign | the label of another frame, given in place of the true one |
# | reliance | mIoU with the true label minus mIoU with a foreign label |
# | label gain | mIoU with the true label minus mIoU with an empty channel |
# | void | pixels without a class: never in the cross-entropy, never scored |

# %% [markdown]
# ## Parameters
#
# Other settings are given through `overrides`: `"void_policy=zero, class_codes=fixed"`.

# %% tags=["parameters"]
dataset: str = "streets"  # name of a file in labkit/datasets
data_root: str = ""  # folder that holds the data sets; "": environment variable LABKIT_DATA
frame: int = 0  # index in the validation split
class_std: float = 1.0  # std of the random class codes
pixel_std: float = 0.03  # std of the pixel noise, in units of the class codes
label_scale: float = 3.0  # label channel, in units of the normalised image's std
label_channels: int = 1  # independent codes per class
seed: int = 0  # of the draw
runs: str = "runs"  # folder of run folders, from the project's root
overrides: str = ""  # any other settings, as in the text above

# %%
import torch

from labkit import explore, plots
from labkit.datasets import dataset_info, open_split
from labkit.method import LabelNoising, stream_generator
from labkit.records import figures_folder
from labkit.records.artifacts import save_figure
from labkit.settings import NoisingSettings, parse_overrides

# %%
values = dict(dataset=dataset, data_root=data_root, frame=frame, seed=seed, runs=runs)
noise = dict(class_std=class_std, pixel_std=pixel_std, label_scale=label_scale)
noise |= dict(label_channels=label_channels)
settings = NoisingSettings(**values | noise | parse_overrides(overrides))

# %% [markdown]
# ## Turn the knobs
#
# The readout says how much of the label the **best threshold decoder** reads back from the channel alone: it cuts the channel's
# values into intervals, one class each. Within one frame it knows the codes; the teacher does not, they are drawn for every image.

# %%
explore.show(explore.noising(settings))

# %% [markdown]
# ## The module
#
# For every image one code per class is drawn, $w_k \sim \mathcal N(0, \sigma_c^2)$, and one for void. The label channel is
#
# $$ \ell(p) = s \,\Big( \sum_k w_k \,[\,y(p) = k\,] + e(p) \Big), \qquad e(p) \sim \mathcal N(0, \sigma_p^2) $$
#
# with `class_std` $\sigma_c$, `pixel_std` $\sigma_p$ and `label_scale` $s$.

# %%
info = dataset_info(settings.dataset, root=settings.data_root)
split = open_split(settings.dataset, "val", root=settings.data_root, size=settings.frame + 1)
image, target = split[settings.frame]
name, (height, width) = split.frame_name(settings.frame), target.shape
print(f"{name}: {height} x {width} pixels, {info.num_classes} classes")

# %%
names = ("class_std", "pixel_std", "label_scale", "label_channels", "void_policy", "class_codes")
noising = LabelNoising(num_classes=info.num_classes, **settings.model_dump(include=set(names)))
noising

# %% [markdown]
# ## The four steps
#
# One-hot, weighted, summed, noised. A call of `LabelNoising` computes the sum as a gather, which is equal and needs no $K$-fold
# memory.

# %%
steps = noising.steps(target[None], generator=stream_generator("explore noise", settings.seed))
codes = noising.draw_codes(1, generator=stream_generator("explore noise", settings.seed))[0, 0]
figure = plots.noising_figure(image, target, steps, codes, info)

# %%
channel = noising(target[None], generator=stream_generator("explore noise", settings.seed))
print("gather equals the formula:", torch.allclose(channel, steps.noised))

# %% [markdown]
# ## Can the label be read back?
#
# <details><summary><b>Predict first.</b> Two codes lie closer together than the pixel noise. What is lost?</summary>
#
# Their classes cannot be separated any more, within this image. Across images the codes change, so no code ever means a class.
# </details>

# %%
histogram = plots.code_histogram_figure(channel[0, 0], target, info)

# %%
folder = figures_folder(settings.figures, settings.runs, settings.dataset)
caption = f"Label noising of {name} ({settings.dataset}), seed {settings.seed}."
alt = "A frame, its label, one-hot maps, the maps times codes, their sum, and the sum with noise."
record = dict(caption=caption, alt=alt, runs=[], parameters=settings.model_dump())
save_figure(figure, folder / "noising.png", **record)

# %% [markdown]
# **Takeaway.** The channel keeps the regions and hides the ids; `class_std` against `pixel_std` decides how much can be read back.
#
# Next: [01 · Teacher training](01_teacher_training.ipynb)
