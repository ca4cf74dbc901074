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
# # 03 · Analysis: is the assisted teacher stronger, does its student gain, and what does it lean on?
#
# Everything here comes from **complete** runs of one data set: a run without a finished manifest does not exist for a table.

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
dataset: str = "streets"  # name of a file in labkit/datasets
data_root: str = ""  # folder that holds the data sets; "": environment variable LABKIT_DATA
category: str = "car"  # class whose contribution is drawn
frames: int = 4  # frames drawn, chosen by the rule the notebook states
attribution_layer: str = "folded"  # stem through its BatchNorm and centred, or as it is
region: str = "predicted"  # pixels over which the class score is averaged: predicted, true or both
score: str = "logit"  # of the class, or its margin over the best other class
layers: str = ""  # deeper layers of the joint map, separated by commas; "": four, spread from stem to decoder
noisings: int = 4  # noisings of the label over which the drawn maps are averaged
split_frames: int = 0  # validation frames behind the table of opinions, spread evenly; 0: all
split_noisings: int = 1  # noisings behind that table
curve_frames: int = 20  # validation frames behind the curves over noise, spread evenly; 0: all
pixel_stds: str = "0, 0.1, 0.3, 1, 3"  # pixel noise shown, units of the class weights
label_scales: str = "0, 1, 2, 4.5, 6"  # label scale shown, units of the normalised image's std
gradient_steps: int = 32  # points of the integrated gradients
seed: int = 0  # of the noising shown
device: str = "auto"  # auto: cuda where there is one
threads: int = 0  # CPU threads; 0: as torch chooses
runs: str = ""  # folder of run folders; "": runs/ of the project
figures: str = ""  # where figures and tables go; "": figures/<dataset> beside the run folders

# %%
from IPython.display import Markdown

from labkit import analysis, contribution, experiments, explorers, plots, products, tables, widgets
from labkit.attribution import label_share, nan_std
from labkit.config import AnalysisSettings, numbers
from labkit.contribution import captions
from labkit.datasets import frames_batch
from labkit.records import complete_runs, figures_folder, runs_folder

# %%
settings = AnalysisSettings(
    dataset=dataset,
    data_root=data_root,
    category=category,
    frames=frames,
    attribution_layer=attribution_layer,
    region=region,
    score=score,
    layers=layers,
    noisings=noisings,
    split_frames=split_frames,
    split_noisings=split_noisings,
    curve_frames=curve_frames,
    pixel_stds=pixel_stds,
    label_scales=label_scales,
    gradient_steps=gradient_steps,
    seed=seed,
    device=device,
    threads=threads,
    runs=runs,
    figures=figures,
)

# %% [markdown]
# ## The runs

# %%
finished = complete_runs(runs_folder(settings.runs), settings.dataset)
named = analysis.run_names(finished)
folder = figures_folder(settings.figures, settings.runs, settings.dataset)
parameters = settings.model_dump()
print(len(finished), "complete runs; shown in figures:")
for name, run in named.items():
    print(f"{name:>22}: {run.run_id}")

# %% [markdown]
# ## The table
# Mean and deviation over seeds. Read a gain only beside its twin: the same network, recipe and seeds without the thing that is
# claimed to help. `trials.csv` beside it has a line per run, with the settings in which runs differ. **Reliance** is true minus foreign label, **label gain** true minus zero.

# %%
table = tables.results_table(finished)
protocol = "; ".join(sorted({run.metrics()["protocol"] for run in finished}))
files = tables.write_tables(table, folder, protocol=protocol)
tables.write_csv(tables.trials_table(finished), folder / "trials.csv")
for file in [*files, folder / "trials.csv"]:
    products.record_product(file, caption=f"Scores of {settings.dataset}; {protocol}.", runs=finished, parameters=parameters)
Markdown((folder / "table.md").read_text())

# %% [markdown]
# ## How they got there

# %%
curves = plots.curves_figure({name: run.log_rows() for name, run in named.items()})
products.save_figure(
    curves,
    folder / "curves.png",
    caption="Loss terms, reliance and label gain of assisted teachers, and validation mIoU along training; one run each.",
    alt="Line charts over optimiser steps: loss terms with reliance below them, and mIoU by what each network reads.",
    runs=list(named.values()),
    parameters=parameters,
).name

# %% [markdown]
# ## What they see
# The frames follow one rule for every method: those validation frames in which the chosen class fills at least 3 % of the pixels,
# spread evenly over the split.

# %%
loaded = {
    name: experiments.load_experiment(run, data_root=settings.data_root, device=settings.device, threads=settings.threads)
    for name, run in named.items()
}
first = next(iter(loaded.values()))
info = first.info
class_id = info.class_id(settings.category)
chosen = contribution.choose_frames(first.val_split, category=class_id, count=settings.frames)
batch = frames_batch(first.val_split, info, chosen)
images = [first.val_split[i].image for i in chosen]
frame_names = [first.val_split.frame_name(i) for i in chosen]
print(frame_names)

# %%
grid = plots.predictions_figure(images, list(batch.target), analysis.predictions(loaded, batch), info)
products.save_figure(
    grid,
    folder / "predictions.png",
    caption="Per frame: image and predictions above, label and errors (dark) below; one run each.",
    alt=f"{len(chosen)} frames with the predictions and error maps of {', '.join(named)}.",
    runs=list(named.values()),
    parameters=parameters,
).name

# %% [markdown]
# ## The question: what does the assisted teacher lean on, image or label?
# It scores better than its twin; is that because it reads its label, and where, and for which classes? The first convolution, the
# *stem*, is linear, so it splits exactly into two that add up:
#
# $$ \mathrm{conv}([x, \ell]) \;=\; \mathrm{conv}_x(x) + \mathrm{conv}_\ell(\ell) + b . $$
#
# Both halves $A_x, A_\ell$ meet the *same* gradient $g$ of the class score (a mean over the pixels of `region`). LayerCAM's map of a branch is
#
# $$ M_b \;=\; \mathrm{ReLU} \sum_d \mathrm{ReLU}(g_d)\, A_{b,d}, $$
#
# drawn (at `attribution_layer = "folded"`) with both branches carried through the first BatchNorm and centred on their own mean over the
# first 64 training images, in **one** unit: logits. The **label share** is $|M_\ell| / (|M_\ell| + |M_x|)$. The maps are means over
# several noisings of the same label, for one draw of class codes is not the teacher's habit. Evidence for a class may enter anywhere, so the
# share is told inside and outside the region whose score is explained, too.

# %%
assisted = loaded[analysis.assisted_teacher(named)]
recipe = {"runs": [assisted.run], "parameters": parameters}
request = contribution.Request(
    region=settings.region, score=settings.score, layer=settings.attribution_layer, seed=settings.seed, noisings=settings.noisings
)
found = contribution.frame_contribution(assisted, batch, category=class_id, request=request)
shares, deviations = label_share(found.maps), nan_std(found.noised.share)
kept = products.save_arrays(contribution.maps_path(assisted, settings.category), contribution.raw_maps(found, frame_names))
print("raw maps:", kept.name, "in the run's folder; label share by place, percent:")
contribution.share_by_place(found).round(1)

# %%
outlines = list(batch.target == class_id)
limit = plots.shared_limit(found.maps.image, found.maps.label)
caption = captions.maps_caption(assisted, request, found, category=settings.category, frames=frame_names, limit=limit)
alt = f"Maps of image and label evidence for {settings.category}; label share {100 * shares.nanmean():.0f} percent on average."
maps = plots.contribution_figure(images, outlines, found.maps.image, found.maps.label, shares, deviations, category=settings.category)
products.save_figure(maps, folder / f"contribution_{settings.category}.png", caption=caption, alt=alt, **recipe).name

# %% [markdown]
# ## What the usual drawing hides
#
# The grad-cam library scales every map to 0-1 on its own. Drawn so, image and label look alike whatever their true share: two maps
# with a maximum of 1 each carry no common unit. Ours (raw stem, one scale) and the library's, of the same network, frames and noising:

# %%
as_it_is = contribution.Request(region=settings.region, layer="raw", seed=settings.seed)
raw = contribution.frame_contribution(assisted, batch, category=class_id, request=as_it_is)
ours, theirs = (raw.maps.image, raw.maps.label), (raw.library["image"], raw.library["label"])
beside = plots.library_figure(images, ours, theirs, category=settings.category)

# %% [markdown]
# ## Deeper down there is one map
#
# Past the stem image and label have met. At deeper layers LayerCAM shows where the *joint* evidence lies; its authors combine layers
# by an element-wise maximum. The coarse layers' say is wide, and the maximum keeps it.

# %%
deeper = contribution.default_layers(assisted, settings.layers)
joint = contribution.deep_contribution(assisted, batch, category=class_id, layers=deeper, request=request)
deep = plots.layers_figure(images, outlines, joint.scaled, joint.combined)
caption = captions.layers_caption(assisted, category=settings.category, frames=frame_names, layers=deeper)
alt = f"Maps of joint evidence for {settings.category} at {len(deeper)} layers, from the stem to the decoder, and their maximum."
products.save_figure(deep, folder / f"layers_{settings.category}.png", caption=caption, alt=alt, **recipe).name

# %% [markdown]
# ## Two second opinions
#
# A map at the stem says through which door evidence *enters*; it does not say what would happen without it. Two methods that change
# the input ask that, on the same frames and noisings.
#
# **Shapley values.** Image and label are two players, $v$ the class score with an absent player at its baseline (image: blank, which is the
# data set's mean; label: zero). Four forward passes give the exact value, e.g. of the label:
#
# $$ \phi_\ell = \tfrac{1}{2} \big[ (v(\ell) - v(\varnothing)) + (v(x, \ell) - v(x)) \big], \qquad \phi_x + \phi_\ell = v(x, \ell) - v(\varnothing). $$
#
# **Removal.** How much IoU is lost without the label, and without the image? The label's share is its drop over the sum of both drops.
#
# Side by side, per class and over the whole split, with Spearman's correlation over classes (few classes: read it with care):

# %%
asked = contribution.Request(
    region=settings.region, score=settings.score, layer=settings.attribution_layer, seed=settings.seed, noisings=settings.split_noisings
)
opinions = contribution.split_opinions(assisted, assisted.val_split, frames=settings.split_frames, request=asked)
caption = captions.opinions_caption(assisted, asked, opinions)
products.record_product(tables.write_csv(opinions, folder / "contribution.csv"), caption=caption, **recipe)
opinions.round(2)

# %%
side_by_side = plots.opinions_figure(opinions)
alt = "Dot plot of the label share of every class by LayerCAM, Shapley value and removal."
products.save_figure(side_by_side, folder / "opinions.png", caption=caption, alt=alt, **recipe).name

# %% [markdown]
# **Integrated gradients** go the straight line from nothing to both inputs and share the score out among all input pixels; what they
# share out should be the whole difference, and the completeness error says how nearly it is.

# %%
stated = contribution.choose_frames(assisted.val_split, category=class_id, count=contribution.GRADIENT_FRAMES)
gradients = contribution.gradient_contribution(
    assisted, assisted.val_split, stated, category=class_id, request=request, steps=settings.gradient_steps
)
caption = captions.gradients_caption(assisted, request, category=settings.category, steps=settings.gradient_steps)
products.record_product(tables.write_csv(gradients, folder / "integrated_gradients.csv"), caption=caption, **recipe)
gradients.round(2)

# %% [markdown]
# ## What if the label is noisier, or louder, than in training?
#
# One trained teacher, one kind of noise changed at a time. Reliance (true minus foreign label) is what a wrong label costs;
# label gain (true minus zero) what a right one brings. A label too noisy to read still enters: its share by maps and by Shapley values
# grows while it does nothing but harm, which removal (drops clipped at 0) calls a share of 0.

# %%
stds, scales, count = numbers(settings.pixel_stds), numbers(settings.label_scales), settings.curve_frames or len(assisted.val_split)
single = contribution.Request(region=settings.region, score=settings.score, layer=settings.attribution_layer, seed=settings.seed)
over_noise = contribution.reliance_over_noise(
    assisted, assisted.val_split, pixel_stds=stds, label_scales=scales, frames=count, request=single
)
caption = captions.curves_caption(assisted, single, frames=count)
products.record_product(tables.write_csv(over_noise, folder / "reliance.csv"), caption=caption, **recipe)
alt = "Reliance, label gain and label share of one teacher over pixel noise and over label scale at evaluation."
lines = plots.reliance_figure(over_noise)
products.save_figure(lines, folder / "reliance.png", caption=caption, alt=alt, **recipe).name

# %% [markdown]
# ## Are the maps about this network and this label?
#
# A map that stays as it is when the network is no longer itself, or the label no longer this label, explains neither. Weights are redrawn
# from the logits down to the stem, and the label's pixels change places. No threshold is set: a stem map multiplies by its own activation,
# so it resembles the input whatever lies above.

# %%
steps = contribution.sanity_steps(assisted, batch, category=class_id, request=request, seed=settings.seed)
caption = captions.sanity_caption(assisted, category=settings.category, frames=frame_names)
products.record_product(tables.write_csv(contribution.steps_table(steps), folder / "sanity.csv"), caption=caption, **recipe)
alt = "Image and label maps as weights are redrawn and as the label is permuted, and the rank correlation at each step."
sanity = plots.sanity_figure(outlines[0], contribution.steps_by_kind(steps))
products.save_figure(sanity, folder / "sanity.png", caption=caption, alt=alt, **recipe).name

# %% [markdown]
# ## What it means, and an explorer of it: image and label live, in one scale

# %%
Markdown(contribution.verdict(opinions))

# %%
widgets.show(explorers.contribution(settings))

# %% [markdown]
# ## In short (the record of every run, its manifest and log, lies beside the figures)

# %%
products.write_records(finished, folder)
Markdown(tables.summary(table))
