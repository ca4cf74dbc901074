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
# # 05 · Distillers: what can a student learn from a teacher's outputs?
#
# **What you will learn**: fifteen losses between a student and a teacher, each with its equation, where it pushes the student, which
# changes it does not see, what it costs, and what students gained by it.
#
# ![Where each of fifteen distillers pushes the student's logits of one class](../figures/streets/toy/pushes.png)
#
# | symbol | meaning |
# |---|---|
# | $s, t$ | logits of student and teacher, $N \times K \times h \times w$; $n = hw$ positions |
# | $f, g$ | features of student and teacher at an encoder stage, $N \times C \times h \times w$ |
# | $A$ | 1x1 convolution that is added where the widths differ |
# | $T$ | temperature, divides the logits |
# | push | minus the gradient: where gradient descent moves the student's logits |

# %% [markdown]
# ## Parameters
#
# Other settings are given through `overrides`: `"figures=my_figures"`.

# %% tags=["parameters"]
dataset: str = "streets"  # data set whose measured gains are shown
distiller: str = "cwd"  # distiller the explorer begins with
seed: int = 0  # of the toy student's noise
threads: int = 1  # CPU threads; 0: as torch chooses
runs: str = "runs"  # folder of run folders
overrides: str = ""  # any other settings, as in the text above

# %%
from labkit import explore, plots
from labkit.explore import distiller_map, distiller_tables
from labkit.settings import DistillersSettings, parse_overrides

# %%
values = dict(dataset=dataset, distiller=distiller, seed=seed, threads=threads, runs=runs)
settings = DistillersSettings(**values | parse_overrides(overrides))

# %% [markdown]
# ## Turn the knobs
#
# A map of 6 x 8 cells with three classes: road, sky, and a pole that the student sees too far to the right. One cell is void. The
# features are fixed linear maps of the logits, so that every distiller has a gradient on the same map. Choose a distiller, change the
# student, and read below the pictures which changes it does not see.

# %%
explore.show(explore.distiller(settings))

# %% [markdown]
# ## All of them
#
# Every term is a mean, over pixels, maps, elements or images, so that its value does not depend on the batch size. The weights are those
# of public code, converted where that code divides by something else. `labkit distillers` prints the same table.

# %%
import pandas as pd

pd.set_option("display.max_colwidth", None)  # whole summaries
distiller_tables.facts_table()

# %% [markdown]
# ## Logits
#
# $$ \text{kd} = \frac{T^2}{N n} \sum_p \mathrm{KL}\big(\mathrm{softmax}_k(t_p/T) \,\|\, \mathrm{softmax}_k(s_p/T)\big) $$
#
# `standardised_kd` is the same on $z = (x - \bar x)/\sigma(x)$, mean and deviation over the classes of a pixel. `dkd` splits it at the
# true class $y$ of a pixel, whose probability is $p_y$:
#
# $$ \text{dkd} = \frac{T^2}{|\text{labelled}|} \sum_p \alpha\, \mathrm{KL}\big((t_y, 1 - t_y) \,\|\, (s_y, 1 - s_y)\big) + \beta\, \mathrm{KL}(\text{the other classes, renormalised}) $$
#
# $$ \text{cwd} = \frac{T^2}{N K} \sum_{k} \mathrm{KL}\big(\mathrm{softmax}_p(t_k/T) \,\|\, \mathrm{softmax}_p(s_k/T)\big) $$
#
# $$ \text{dist} = \big[1 - \rho_{\text{classes}}\big] + \big[1 - \rho_{\text{pixels}}\big] $$
#
# where $\rho$ is Pearson's correlation of the two softmaxes, over the classes of each pixel and over the pixels of each class.
#
# <details><summary><b>Predict first.</b> The student's pole is one column too far to the right. kd compares classes at each position, cwd
# compares positions in each class. Do they push at the same cells?</summary>
#
# Nearly: both raise the pole where the teacher has it and lower it where the student has it. But cwd may add a constant to a class, and kd
# one to a position, without any cost: over positions, or over classes, their push sums to 0.
# </details>

# %%
names = ("kd", "standardised_kd", "dkd", "cwd", "dist")
states = {name: distiller_map.DistillerState(distiller=name, seed=settings.seed) for name in names}
pushes = {name: distiller_map.gradient_field(state).push for name, state in states.items()}
figure = plots.push_figure(pushes, distiller_map.NAMES)

# %% [markdown]
# ## Features, position by position and channel by channel
#
# $$ \text{fitnet} = \overline{(A f - g)^2} \qquad \text{pkd} = \tfrac{1}{2}\, \overline{(\tilde f - \tilde g)^2} \qquad \text{mgd} = \overline{(G(M \odot A f) - g)^2} $$
#
# $\tilde f$ has mean 0 and deviation 1 per channel over the batch. $M$ drops three quarters of the positions at random, and $G$, two
# convolutions, learns to rebuild the teacher's features from the rest: here it is untrained.
#
# $$ \text{at} = \frac{1}{N} \sum_i \| a(f_i) - a(g_i) \|^2, \qquad a(f) = \frac{\mathrm{mean}_c f^2}{\| \mathrm{mean}_c f^2 \|} $$
#
# $$ \text{ickd} = \frac{1}{N C} \sum_{i,c} \| G_c(f_i) - G_c(g_i) \|^2 $$
#
# with $G_c$ the row $c$ of $F F^\top$ over the positions of an image, of length 1.

# %%
names = ("fitnet", "pkd", "mgd", "at", "ickd")
states = {name: distiller_map.DistillerState(distiller=name, seed=settings.seed) for name in names}
pushes |= {name: distiller_map.gradient_field(state).push for name, state in states.items()}
figure = plots.push_figure({name: pushes[name] for name in names}, distiller_map.NAMES)

# %% [markdown]
# ## Relations between positions
#
# $$ \text{skd} = \overline{(S(f) - S(g))^2}, \qquad S = \text{cosines between pooled positions} $$
#
# $$ \text{ifvd} = \mathrm{mean}_{\text{labelled}} \big(\cos(f_p, \mu_f) - \cos(g_p, \mu_g)\big)^2, \qquad \mu = \text{mean of the pixels of the same class and image} $$
#
# $$ \text{dsd} = w_1\, \overline{\| r_{ij}(s) - r_{ij}(t) \|^2} + w_2\, \overline{(P P^\top(s) - P P^\top(t))^2} $$
#
# with $r_{ij}$ the direction in which the attention map changes from one layer to another, and $P = \mathrm{softmax}_p(x/T)$ of each class.
#
# $$ \text{cirkd} = \mathrm{KL}\big(\mathrm{softmax}\,(\cos(g_p, g_q)/T) \,\|\, \mathrm{softmax}\,(\cos(f_p, f_q)/T)\big) + 0.1 \times \text{the same against remembered pixels and regions} $$
#
# $$ \mathrm{af\_dcd} = w_1\, \text{mgd} + w_2\, \big(-\log \mathrm{softmax}\,(-|f_{p,c} - g_{q,d}|/T)\big)_{(q,d) = (p,c)} $$
#
# where $(p, c)$ runs over the positions of a patch and its groups of channels.
#
# <details><summary><b>Predict first.</b> The student's features are rotated, the same way at every position. Whose value stays?</summary>
#
# Those of at, dsd and ifvd, which use lengths, or cosines within one network. skd takes a maximum per channel first and cirkd compares
# with remembered vectors of the teacher, so both change, as do all that compare channel by channel.
# </details>

# %%
names = ("skd", "ifvd", "dsd", "cirkd", "af_dcd")
states = {name: distiller_map.DistillerState(distiller=name, seed=settings.seed) for name in names}
pushes |= {name: distiller_map.gradient_field(state).push for name, state in states.items()}
figure = plots.push_figure({name: pushes[name] for name in names}, distiller_map.NAMES)

# %% [markdown]
# ## What they do not see
#
# A change of logits and features (`both`: of both networks, and of the label with them), and by how much the value changes, percent of
# the value; an empty cell: not at all. What a distiller does not see, it does not teach.
#
# *Before you look: which distillers can a student satisfy without ever naming a class?*

# %%
changes = distiller_tables.changes_table(settings.seed)
changes

# %% [markdown]
# `skd` would not see the scale of a position if it did not pool 2 x 2 first. The second part of `dsd` sees scales, but its customary weight is
# 50 000 times smaller than the first's.

# %% [markdown]
# ## What they cost
#
# Forward and backward of one image with 19 classes: processor time, and memory kept for the backward pass beside the two networks' outputs. None
# holds a matrix of all positions by all positions: `skd` and `cirkd` pool until at most 1024 and 256 positions are left.

# %%
import torch

torch.set_num_threads(settings.threads or torch.get_num_threads())
distiller_tables.cost_table().round(2)

# %% [markdown]
# ## Weights that can be compared
#
# Weights can be compared only together with the denominators of their terms. The weight `calibrated` is measured when a run is prepared: over its first four
# batches, the gradient of the weighted term has the norm of the cross-entropy's gradient, at the student's last encoder stage. Its
# value is in the run's log and record.
#
# ```
# labkit distillers calibrate --set teacher=RUN            # norms and proposed weights of all
# labkit train student --set teacher=RUN --set distillation=at:calibrated
# ```

# %% [markdown]
# ## What students gained
#
# mIoU over the same student without a teacher, from the tables of `labkit matrix labkit/batch/matrices/distillers.yaml`: each
# distiller with its calibrated weight, taught by a plain and by an assisted teacher. With one seed, differences below about 2 points mean nothing.
#
# *Before you look: by which distillers should an assisted teacher teach better than a plain one?*

# %%
from labkit.settings import absolute_path

gains = distiller_tables.gains_table(absolute_path(f"figures/{settings.dataset}/distillers"))
gains.round(2) if len(gains) else "No table yet: run the matrix above."

# %%
figure = plots.teachers_figure(gains) if len(gains) else None

# %%
from labkit.records import figures_folder
from labkit.records.artifacts import record_artifact, save_figure
from labkit.study.tables import write_table

# %%
folder = figures_folder(settings.figures, settings.runs, settings.dataset)
record = dict(runs=[], parameters=settings.model_dump())
pole = distiller_map.NAMES.index("pole")
figure = plots.push_figure({name: push[[pole]] for name, push in pushes.items()}, ["pole"])
caption = "Push of every distiller on the student's logits of pole, seen one column too far right."
alt = "Fifteen small maps: most push the pole up in its column, down in the column to its right."
save_figure(figure, folder / "pushes.png", caption=caption, alt=alt, **record)

# %%
path = write_table(changes.reset_index(), folder / "changes.csv")
caption = "By how much a change moves each distiller's value, percent; empty: not at all."
record_artifact(path, caption=caption, **record)

# %% [markdown]
# **Takeaway.** Distillers differ in what they compare and what they ignore; compare their weights only together with the denominators.
#
# Back to [04 · Attribution](04_attribution.ipynb), or begin again with [00 · Label noising](00_label_noising.ipynb).
