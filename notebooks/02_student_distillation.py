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
# # 02 · Student distillation
#
# **What you will learn**: how a student that sees the image alone is taught by a frozen teacher that may see the noised label, and
# what it gains over the same student without a teacher.
#
# ![Image, noised label and label; predictions of a teacher with its label and without, and of its student](../figures/streets/confirmation/hero.png)
#
# Words as in the glossary of [00](00_label_noising.ipynb).

# %% [markdown]
# ## Parameters
#
# `teacher` takes the id of a complete run (`labkit runs` lists them); `""` trains a student
# alone. Everything else is set through `overrides`: `"train_steps=1200, cwd.temperature=4"`.

# %% tags=["parameters"]
dataset: str = "streets"  # name of a file in labkit/datasets
recipe: str = "default"  # one of the data set's recipes
data_root: str = ""  # folder that holds the data sets; "": environment variable LABKIT_DATA
teacher: str = ""  # run id of a complete teacher, or a unique beginning of one; "": no teacher
distillation: str = "cwd:3"  # distillers with their weights: "cwd:3", "kd:1+cwd:3"
seed: int = 0  # weights, data order, augmentation and noise follow from it
runs: str = "runs"  # folder of run folders, from the project's root
overrides: str = ""  # any other settings, as in the text above

# %%
from labkit import explore, plots
from labkit.plots.experiments import input_figure, run_predictions_figure
from labkit.settings import parse_overrides
from labkit.training.experiment import distillation_noising, plan_run, prepare
from labkit.training.first_step import first_terms
from labkit.training.fit import fit

# %%
values = dict(dataset=dataset, recipe=recipe, data_root=data_root, seed=seed, runs=runs)
values |= dict(teacher=teacher, distillation=distillation)
run = plan_run("student", values | parse_overrides(overrides))

# %%
experiment = prepare(run)
print(run.run_id, "\ntaught by", run.teacher.run_id if run.teacher else "nobody")

# %% [markdown]
# ## Teacher and student on one batch
#
# The image is what the student sees; an assisted teacher also sees the label channel.

# %%
figure = input_figure(experiment, distillation_noising(experiment))

# %%
if run.teacher:
    for reading, scores in run.teacher.metrics()["readings"].items():
        print(f"{reading:>14}: mIoU {scores['miou']:.2f}")

# %% [markdown]
# ## The step
#
# $$ \mathcal L = \mathrm{CE}(z_s, y) + \sum_i \mu_i \, D_i(s, t) $$
#
# with one weighted distance for each distiller named in `distillation`: `cwd` is the channel-wise distance of
# [01](01_teacher_training.ipynb), `kd` the pixel-wise
# $\frac{T^2}{N H W} \sum_p \mathrm{KL}(\mathrm{softmax}_k(z_t/T) \,\|\, \mathrm{softmax}_k(z_s/T))$. The teacher is frozen and in
# eval mode; logits are compared before any upsampling. Before any training the terms are:

# %%
{name: round(value, 4) for name, value in first_terms(experiment).items()}

# %% [markdown]
# ## Compare runs
#
# Two or three complete runs on one frame: swipe from one prediction to the other, see which is right where, and go to the frames on
# which a class gains or loses most. It begins with a student, its baseline (the same student alone), and its teacher.

# %%
explore.show(explore.compare(run.settings, run=run))

# %% [markdown]
# ## Train
#
# The same function as `labkit train student`. In JupyterLab its loss terms, mIoU and the prediction of one frame are shown while it
# trains.

# %%
with explore.live_training(experiment) as watch:
    metrics = fit(experiment, watch=watch)

# %%
figure = plots.curves_figure({f"student {run.kind}": run.log_rows()})

# %% [markdown]
# <details><summary><b>Predict first.</b> In which classes would a student gain most from a teacher that knows the regions?</summary>
#
# In thin classes. In `streets/confirmation`, 3000 steps: pole +1.6 and person +3.7 by CWD; +3.8 and +4.1 by DIST with a student that
# begins with the assisted teacher's weights, of which the same from a plain teacher has +3.1 for person but -2.2 for pole. Four of the six
# other classes lose .6 to .8 by CWD, and none by DIST from the assisted start.
# </details>

# %%
for name, value in metrics["readings"]["image"]["iou"].items():
    print(f"{name:>14}: IoU {'absent' if value is None else format(value, '.2f')}")
print(f"{'mean':>14}: {metrics['readings']['image']['miou']:.2f}")

# %%
beside = {"teacher": experiment.teacher} if experiment.teacher else {}
figure = run_predictions_figure(beside | {"student": experiment}, frames=2)

# %% [markdown]
# **Takeaway.** A student's gain is worth reading only beside its baseline, the same student alone with the same seed and steps, and beside a
# student alone that trained as long as teacher and student together.
#
# Next: [03 · Results](03_results.ipynb)
