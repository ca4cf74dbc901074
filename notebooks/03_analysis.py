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
seed: int = 0  # of the noising shown
device: str = "auto"  # auto: cuda where there is one
threads: int = 0  # CPU threads; 0: as torch chooses
runs: str = ""  # folder of run folders; "": runs/ of the project
figures: str = ""  # where figures and tables go; "": figures/<dataset> beside the run folders

# %%
from IPython.display import Markdown

from labkit import analysis, experiments, plots, products, tables
from labkit.attribution import label_share
from labkit.config import AnalysisSettings
from labkit.datasets import frames_batch
from labkit.records import complete_runs, figures_folder, runs_folder

# %%
settings = AnalysisSettings(
    dataset=dataset,
    data_root=data_root,
    category=category,
    frames=frames,
    attribution_layer=attribution_layer,
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
#
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
    caption="Loss terms and validation mIoU along training; one run each.",
    alt="Two line charts over optimiser steps: loss terms, and mIoU by what each network reads.",
    runs=list(named.values()),
    parameters=parameters,
).name

# %% [markdown]
# ## What they see
#
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
chosen = analysis.choose_frames(first.val_split, category=class_id, count=settings.frames)
batch = frames_batch(first.val_split, info, chosen)
images = [first.val_split[i].image for i in chosen]
print([first.val_split.frame_name(i) for i in chosen])

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
# ## How much of the evidence is label?
#
# The first convolution is linear, so it splits exactly into two that add up:
#
# $$ \mathrm{conv}([x, \ell]) \;=\; \mathrm{conv}_x(x) + \mathrm{conv}_\ell(\ell) + b . $$
#
# Both halves $A_x, A_\ell$ meet the *same* gradient $g$ of the class score (the mean logit over the pixels predicted as the class).
# LayerCAM's map of a branch is
#
# $$ M_b \;=\; \mathrm{ReLU} \sum_d \mathrm{ReLU}(g_d)\, A_{b,d}, $$
#
# drawn (at `attribution_layer = "folded"`) with both branches carried through the first BatchNorm and centred on their own mean over data (the label's measured over the
# first 64 training images), in **one** unit: logits. The **label share** is $|M_\ell| / (|M_\ell| + |M_x|)$.

# %%
assisted = loaded[analysis.assisted_teacher(named)]
found = analysis.contribution(assisted, batch, category=class_id, layer=settings.attribution_layer, seed=settings.seed)
shares = label_share(found.maps)
print("label share per frame, percent:", [round(100 * value, 1) for value in shares.tolist()])

# %%
outlines = list(batch.target == class_id)
maps = plots.contribution_figure(images, outlines, found.maps.image, found.maps.label, shares, category=settings.category)
name = f"contribution_{settings.category}.png"
products.save_figure(
    maps,
    folder / name,
    caption=f"Evidence for {settings.category} in the assisted teacher, through image and label, one scale; {assisted.run.run_id}.",
    alt=f"Maps of image and label evidence for {settings.category}; label share {100 * shares.nanmean():.0f} percent on average.",
    runs=[assisted.run],
    parameters=parameters,
).name

# %% [markdown]
# ## What the usual drawing hides
#
# The grad-cam library scales every map to 0-1 on its own. Drawn so, image and label look alike whatever their true share: two maps
# with a maximum of 1 each carry no common unit. Ours (raw stem, one scale) and the library's, of the same network and frames:

# %%
raw = analysis.contribution(assisted, batch, category=class_id, layer="raw", seed=settings.seed)
beside = plots.library_figure(
    images,
    (raw.maps.image, raw.maps.label),
    (raw.library["image"], raw.library["label"]),
    category=settings.category,
)

# %% [markdown]
# ## Turn the knobs
#
# Class, region, layer, number of noisings and noise, live; image and label in one scale.

# %%
from labkit import explorers, widgets

widgets.show(explorers.contribution(settings))

# %% [markdown]
# ## In short
#
# The record of every run, its manifest and log, lies beside the figures.

# %%
products.write_records(finished, folder)
Markdown(tables.summary(table))
