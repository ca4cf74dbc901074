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
# # 01 · Teacher training
#
# **What you will learn**: how a teacher is trained on an image *and* its noised label, and how to tell whether it uses the label.
#
# ![How far assisted teachers with their true label are above a plain teacher, and above themselves with a foreign and an empty label](../figures/streets/confirmation/teacher_gains.png)
#
# Words as in the glossary of [00](00_label_noising.ipynb).

# %% [markdown]
# ## Parameters
#
# Everything else has a default from the data set's recipe and is set through `overrides`:
# `"train_steps=2400, label_channels=3"`. `labkit settings teacher` lists every setting.

# %% tags=["parameters"]
dataset: str = "streets"  # name of a file in labkit/datasets
recipe: str = "default"  # one of the data set's recipes
data_root: str = ""  # folder that holds the data sets; "": environment variable LABKIT_DATA
assisted: bool = True  # False: a plain teacher, which sees the image alone
class_std: float = 1.0  # std of the random class codes
pixel_std: float = 0.03  # std of the pixel noise, in units of the class codes
seed: int = 0  # weights, data order, augmentation and noise follow from it
runs: str = "runs"  # folder of run folders, from the project's root
overrides: str = ""  # any other settings, as in the text above

# %%
from labkit import explore, plots
from labkit.plots.experiments import input_figure, run_predictions_figure
from labkit.settings import parse_overrides
from labkit.training.experiment import plan_run, prepare
from labkit.training.first_step import first_terms
from labkit.training.fit import fit

# %%
values = dict(dataset=dataset, recipe=recipe, data_root=data_root, seed=seed, runs=runs)
values |= dict(assisted=assisted, class_std=class_std, pixel_std=pixel_std)
run = plan_run("teacher", values | parse_overrides(overrides))

# %%
experiment = prepare(run)
print(run.run_id)

# %% [markdown]
# ## A batch as the teacher sees it
#
# Order, augmentation and noise are functions of (seed, step), so this is the first frame of the first step.

# %%
figure = input_figure(experiment, experiment.noising)

# %% [markdown]
# <details><summary><b>Predict first.</b> The codes are drawn anew for every image. Can the channel be read as a class id?</summary>
#
# No: regions survive, ids do not. What the teacher can read is which pixels belong together.
# </details>

# %% [markdown]
# ## The step
#
# Two independent noisings $a, b$ of one batch go through the network. Both must be right, and they should agree:
#
# $$ \mathcal L = \mathrm{CE}(z_a, y) + \mathrm{CE}(z_b, y) + \lambda \,\big[ D(z_a, \bar z_b) + D(z_b, \bar z_a) \big] $$
#
# where a bar stops the gradient, $\lambda$ is `consistency_weight` and $D$ the channel-wise distance
#
# $$ D(s, t) = \frac{T^2}{N K} \sum_{n,k} \mathrm{KL}\big( \mathrm{softmax}_{hw}(t/T) \,\|\, \mathrm{softmax}_{hw}(s/T) \big). $$
#
# A plain teacher has the one term $\mathrm{CE}$. Before any training the terms are:

# %%
{name: round(value, 4) for name, value in first_terms(experiment).items()}

# %% [markdown]
# ## Edit the label
#
# Choose a complete teacher, edit a region of its label, and see whether the prediction follows the label or the image. Where no
# teacher is complete yet, come back after the next cell.

# %%
explore.show(explore.teacher(run.settings, run=run))

# %% [markdown]
# ## Train
#
# The same function as `labkit train teacher`: it continues from the last checkpoint, and a complete run is only read. In JupyterLab
# its loss terms, mIoU, reliance and the prediction of one frame are shown while it trains.

# %%
with explore.live_training(experiment) as watch:
    metrics = fit(experiment, watch=watch)

# %%
figure = plots.curves_figure({f"{run.kind} teacher": run.log_rows()})

# %% [markdown]
# ## Does it use its label?
#
# <details><summary><b>Predict first.</b> The same teacher is given the true label, another frame's, and none. Which order?</summary>
#
# A teacher that uses its label: true above none, and foreign lowest, because a wrong label misleads it.
# </details>

# %%
for reading, scores in metrics["readings"].items():
    miou, accuracy = scores["miou"], scores["pixel_accuracy"]
    print(f"{reading:>14}: mIoU {miou:.2f}   pixel accuracy {accuracy:.2f}")

# %%
figure = run_predictions_figure({f"{run.kind} teacher": experiment}, frames=2)

# %% [markdown]
# **Takeaway.** A teacher uses its label only where the label scale is large enough and the consistency weight is small enough; reliance
# shows it. A gain means something only beside a plain teacher of the same recipe and seed.
#
# Next: [02 · Student distillation](02_student_distillation.ipynb)
