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
# # 04 · Attribution: does the assisted teacher's prediction come from the image or from the label?
#
# You will learn to split the evidence for a class exactly into a part that entered through the image and one that entered through the
# label, to check the split with two other methods, and to see where such maps mislead.
#
# ![Evidence for a class through the image and through the label, in one scale](../figures/streets/convergence/contribution_car.png)
#
# | word | meaning |
# |---|---|
# | plain, assisted | a teacher that sees the image, or the image and its noised label |
# | foreign label | the label of another frame |
# | reliance | teacher's mIoU with the true label minus with a foreign one |
# | label gain | teacher's mIoU with the true label minus with an empty one |
# | label share | the label's part of the evidence: label / (label + image) |
# | void | pixels without a class: they count in no score |

# %% [markdown]
# ## Parameters
#
# Other settings are given through `overrides`: `"attribution_layer=raw, gradient_steps=64"`.

# %% tags=["parameters"]
dataset: str = "streets"  # name of a file in labkit/datasets
teacher: str = ""  # run id of an assisted teacher; "": the first complete one, by id
data_root: str = ""  # folder that holds the data sets; "": environment variable LABKIT_DATA
category: str = ""  # class whose evidence is drawn; "": car, else the first class
frames: int = 4  # frames drawn, chosen by the rule below
region: str = "predicted"  # pixels over which the class score is averaged: predicted, true or both
noisings: int = 4  # noisings of the label averaged in a drawn map
split_frames: int = 100  # validation frames of the label share table, spread evenly; 0: all
seed: int = 0  # of the noising
device: str = "auto"  # auto: cuda where there is one
runs: str = "runs"  # folder of run folders
overrides: str = ""  # any other settings, as in the text above

# %%
from IPython.display import Markdown

from labkit import explore, plots
from labkit.attribution import captions, report
from labkit.records import figures_folder
from labkit.settings import AttributionSettings, parse_overrides

# %%
values = dict(dataset=dataset, teacher=teacher, data_root=data_root, category=category, seed=seed)
values |= dict(frames=frames, region=region, noisings=noisings, split_frames=split_frames)
values |= dict(device=device, runs=runs)
settings = AttributionSettings(**values | parse_overrides(overrides))
folder = figures_folder(settings.figures, settings.runs, settings.dataset)

# %% [markdown]
# ## Explore it
# Choose a frame, a class and a noise level, and see the two maps and the label's share.

# %%
explore.show(explore.contribution(settings))

# %% [markdown]
# ## The teacher and the frames
# The frames follow one rule: those validation frames in which the class fills at least 3 % of the labelled pixels, spread evenly
# over the split.

# %%
subject = report.open_subject(settings)
print(subject.experiment.run.run_id)
names = ", ".join(subject.frame_names)
print(f"{subject.settings.category} on frames {names}; figures in {folder}")

# %% [markdown]
# ## Image and label, in one scale
# The first convolution, the *stem*, is linear, so it splits exactly into two that add up:
#
# $$ \mathrm{conv}([x, \ell]) \;=\; \mathrm{conv}_x(x) + \mathrm{conv}_\ell(\ell) + b . $$
#
# Both halves $A_x, A_\ell$ receive the *same* gradient $g$ of the class score (the mean logit of the class over the pixels of
# `region`). LayerCAM's map of a branch $b$ is
#
# $$ M_b \;=\; \mathrm{ReLU} \sum_d \mathrm{ReLU}(g_d)\, A_{b,d}, $$
#
# with both branches carried through the first BatchNorm and centred on their own mean over the first 64 training images
# (`attribution_layer=raw` takes the stem as it is). Both maps have one unit, logits, and the **label share** is
# $|M_\ell| / (|M_\ell| + |M_x|)$. Maps are means over several noisings of the same label.
#
# *Before you look: inside the class, and outside it, which share do you expect the label to have?*
#
# <details><summary>A way to think about it</summary>
#
# The label channel tells regions apart but not their class, because every image draws new codes. What the label can give is the
# region's border; what it is must come from the image. So expect a label share well below one half, and more of it near borders.
# </details>

# %%
maps = report.maps_report(subject)
maps.save(folder, plots.contribution_figure).name

# %% [markdown]
# The share over the whole frame, inside the region whose score is explained, and outside it, percent. A position of the map is inside
# where it touches the region.

# %%
maps.table.round(1)

# %% [markdown]
# ## What the usual drawing hides
# The grad-cam library scales every map to 0-1 on its own. Two maps with a maximum of 1 each have no common unit.
#
# *Before you look: a label branch that carries a hundredth of the evidence, how would the library draw it?*
#
# <details><summary>Answer</summary>
#
# With a maximum of 1, exactly as bright as the image branch.
# </details>

# %%
beside = report.library_report(subject)
beside.save(folder, plots.library_figure).name

# %% [markdown]
# ## Deeper layers have one map
# Behind the stem image and label are mixed. At deeper layers LayerCAM shows where the *joint* evidence lies; its authors combine layers
# by an element-wise maximum. Coarse layers spread evidence widely, and the maximum keeps it.

# %%
layers = report.layers_report(subject)
layers.save(folder, plots.layers_figure).name

# %% [markdown]
# ## Two more estimates of the label share
# A map at the stem shows where evidence *enters*; it does not show what would happen without it. Two methods that change the input
# answer that, on the same frames and noisings.
#
# **Shapley values.** Image and label are two players, $v$ is the class score, and an absent player is at its baseline (a blank image,
# which is the data set's mean; a zero label). Four forward passes give the exact value, for the label
#
# $$ \phi_\ell = \tfrac{1}{2} \big[ (v(\ell) - v(\varnothing)) + (v(x, \ell) - v(x)) \big], \qquad \phi_x + \phi_\ell = v(x, \ell) - v(\varnothing). $$
#
# **Removal.** How much IoU is lost without the label, and how much without the image? The label's share is its drop over the sum of
# both drops.
#
# *Before you look: must the three agree?*
#
# <details><summary>Answer</summary>
#
# No. The first measures what enters, the other two what changes; and few classes make rank correlations uncertain.
# </details>

# %%
shares = report.estimates_report(subject)
shares.save(folder, plots.label_share_figure).name

# %%
columns = ["class", "frames", "layercam", "shapley", "removal", "layercam_std"]
shares.table[[*columns, "iou_true_label", "iou_zero_label"]].round(1)

# %%
Markdown(captions.summary(shares.table))

# %% [markdown]
# **Integrated gradients** follow the straight line from blank image and zero label to both inputs, and share the score out among all
# input pixels. Image and label together should give the whole difference; `error` says how nearly they do.

# %%
gradients = report.gradients_report(subject)
gradients.save(folder)
gradients.table.round(2)

# %% [markdown]
# ## More label noise, or a larger label scale, than in training
# One trained teacher, one kind of noise changed at a time.
#
# *Before you look: when the label becomes too noisy to read, does its share of the evidence fall?*
#
# <details><summary>Answer</summary>
#
# By maps and Shapley values it may grow: noise enters too, and moves the score. By removal it falls to 0, because such a label only harms
# (drops are clipped at 0). A share of evidence is not a measure of use.
# </details>

# %%
sweep = report.sweep_report(subject)
sweep.save(folder, plots.noise_sweep_figure).name

# %% [markdown]
# ## Are the maps about this network and this label?
# A map that stays the same when the network's weights are random, or when the label is another one, explains neither. Weights are
# redrawn from the logits down to the stem, and the label's pixels change places. No threshold is set: a map at the stem multiplies by
# its own activation, so it resembles the input whatever the later layers are.

# %%
sanity = report.sanity_report(subject)
sanity.save(folder, plots.sanity_figure).name

# %% [markdown]
# ## In short
# **Takeaway.** The label's part of a prediction can be measured exactly at the stem, in the unit of the image's part. It says where evidence enters, not
# what it is worth: read it beside Shapley values, removal and the scores with a foreign label.
#
# Next: [05 · Distillers](05_distillers.ipynb) compares what a student can learn from a teacher's outputs. Back to [03 · Results](03_results.ipynb).
