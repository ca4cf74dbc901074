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
# # 01 · Teacher training: learn to lean on a noised label
#
# An **assisted** teacher (`method = "lad"`) reads four channels: the image and its noised label. A **plain** teacher
# (`method = "none"`) is the same network reading the image alone, trained by the same recipe: the twin without which no gain means
# anything.

# %% [markdown]
# ## Parameters
#
# `-1` and `"recipe"` take the data set's own recipe; anything else overrides it.

# %% tags=["parameters"]
dataset: str = "streets"  # name of a file in labkit/datasets
recipe: str = "default"  # one of the data set's recipes
data_root: str = ""  # folder that holds the data sets; "": environment variable LABKIT_DATA
train_size: int = -1  # training images used, the first ones; 0: all; -1: recipe
val_size: int = -1  # validation images used, the first ones; 0: all; -1: recipe
height: int = -1  # images are brought to this height, pixels; -1: recipe
width: int = -1  # images are brought to this width, pixels; -1: recipe
crop_height: int = -1  # training crop, pixels; -1: recipe
crop_width: int = -1  # training crop, pixels; -1: recipe
scale_min: float = -1.0  # random zoom of the training image, from; -1: recipe
scale_max: float = -1.0  # random zoom of the training image, to; -1: recipe
brightness: float = -1.0  # brightness jitter, fraction 0-1; -1: recipe
architecture: str = "recipe"  # unet, fpn, pspnet or deeplabv3; recipe: the data set's
encoder: str = "recipe"  # an encoder of smp, or tu-<timm name>; recipe: the data set's
encoder_weights: str = "recipe"  # none, imagenet (download) or a path to weights; recipe: the data set's
train_steps: int = -1  # optimiser steps; -1: recipe
batch_size: int = -1  # images per step; -1: recipe
optimiser: str = "recipe"  # sgd or adamw; recipe: the data set's
learning_rate: float = -1.0  # peak, before the poly decay; -1: recipe
momentum: float = -1.0  # SGD only; -1: recipe
weight_decay: float = -1.0  # decoupled for adamw; -1: recipe
warmup_steps: int = -1  # linear warm-up, optimiser steps; -1: recipe
poly_power: float = 0.9  # learning rate: peak * (1 - step/steps)^power
seed: int = 0  # weights, data order, augmentation and noise follow from it
evaluate_every_steps: int = 0  # optimiser steps between evaluations; 0: quarters of the run
checkpoint_every_steps: int = 200  # optimiser steps between checkpoints
checkpoint_every_minutes: float = 10.0  # minutes between checkpoints, at the latest; 0: by steps alone
log_every_steps: int = 20  # optimiser steps between log rows
precision: str = "auto"  # auto: bf16 autocast where the device computes in it
device: str = "auto"  # auto: cuda where there is one
workers: int = 0  # processes that load data; they cannot change a run
threads: int = 0  # CPU threads; 0: as torch chooses
runs: str = ""  # folder of run folders; "": runs/ of the project
method: str = "lad"  # none: plain, lad: assisted by the noised label
class_std: float = 1.0  # std of the random class weights
pixel_std: float = 0.03  # std of the pixel noise, in units of the class weights
label_scale: float = -1.0  # label channel, in units of the normalised image's std; -1: recipe
void_policy: str = "own"  # void has its own weight, or weight 0
label_channels: int = 1  # independent codes per class
weights: str = "random"  # class weights redrawn for each image and path, or the fixed ramp
label_init: str = "normal"  # label slice of the first convolution: N(0, .1^2) or 0
consistency_weight: float = -1.0  # weight of the dual-path consistency; -1: recipe
consistency_distance: str = "cwd"  # distance between the two paths
consistency_temperature: float = 4.0  # divides the logits
distance_stride: int = 4  # logits finer than this stride are average-pooled to it, pixels
void_in_distance: bool = True  # whether void positions enter the distance

# %%
import torch

from labkit import experiments, plots
from labkit.config import TeacherSettings
from labkit.streams import stream_generator

# %%
settings = TeacherSettings(
    dataset=dataset,
    recipe=recipe,
    data_root=data_root,
    train_size=train_size,
    val_size=val_size,
    height=height,
    width=width,
    crop_height=crop_height,
    crop_width=crop_width,
    scale_min=scale_min,
    scale_max=scale_max,
    brightness=brightness,
    architecture=architecture,
    encoder=encoder,
    encoder_weights=encoder_weights,
    train_steps=train_steps,
    batch_size=batch_size,
    optimiser=optimiser,
    learning_rate=learning_rate,
    momentum=momentum,
    weight_decay=weight_decay,
    warmup_steps=warmup_steps,
    poly_power=poly_power,
    seed=seed,
    evaluate_every_steps=evaluate_every_steps,
    checkpoint_every_steps=checkpoint_every_steps,
    checkpoint_every_minutes=checkpoint_every_minutes,
    log_every_steps=log_every_steps,
    precision=precision,
    device=device,
    workers=workers,
    threads=threads,
    runs=runs,
    method=method,
    class_std=class_std,
    pixel_std=pixel_std,
    label_scale=label_scale,
    void_policy=void_policy,
    label_channels=label_channels,
    weights=weights,
    label_init=label_init,
    consistency_weight=consistency_weight,
    consistency_distance=consistency_distance,
    consistency_temperature=consistency_temperature,
    distance_stride=distance_stride,
    void_in_distance=void_in_distance,
)

# %% [markdown]
# ## The run
#
# Settings with the recipe filled in name the run: its id ends in a hash of everything that is computed.

# %%
experiment = experiments.prepare(settings)
run, info, network = experiment.run, experiment.info, experiment.network
print(run.run_id)
run.settings.model_dump()

# %% [markdown]
# ## A batch as the teacher sees it
#
# Order, augmentation and noise are functions of (seed, step, index), so this is exactly the first batch of training.

# %%
batch = experiment.train_batches[0].to(experiment.device)
print("images", tuple(batch.images.shape), " target", tuple(batch.target.shape))
print("network reads", 3 + network.label_channels, "channels and answers at stride", network.output_stride)

# %%
if experiment.noising is not None:
    generator = stream_generator("explore noise", run.seed)
    steps = experiment.noising.steps(batch.target[:1].cpu(), generator=generator)
    codes = experiment.noising.draw_weights(1, generator=stream_generator("explore noise", run.seed))[0, 0]
    plots.noising_figure(info.pixels(batch.images[0]).cpu(), batch.target[0].cpu(), steps, codes, info)

# %% [markdown]
# ## The step
#
# Two independent noisings $a, b$ of the same batch go through the same network. Both must be right, and they should agree:
#
# $$ \mathcal L \;=\; \mathrm{CE}(z_a, y) + \mathrm{CE}(z_b, y)
#    + \lambda \,\big[ D(z_a, \bar z_b) + D(z_b, \bar z_a) \big] $$
#
# where a bar stops the gradient, $\lambda$ is `consistency_weight`, and $D$ is the channel-wise distance
#
# $$ D(s, t) = \frac{T^2}{N K} \sum_{n,k} \mathrm{KL}\big( \mathrm{softmax}_{hw}(t/T) \,\|\, \mathrm{softmax}_{hw}(s/T) \big). $$
#
# Logits finer than `distance_stride` are average-pooled to it before $D$. Void never enters the cross-entropy. A plain teacher has
# the one term $\mathrm{CE}$. Before any training the terms are:

# %%
step = experiments.training_step(experiment)
with torch.no_grad():
    terms = step(batch, stream_generator("noise", run.seed, 0, device=experiment.device)).terms
{name: round(value.item(), 4) for name, value in terms.items()}

# %% [markdown]
# ## Train
#
# Evaluations along the way read the true label, a foreign label (another frame's) and an empty one. **Reliance** is true minus
# foreign: while it stays near zero the teacher ignores its label, whatever its name, and the log says so.

# %%
metrics = experiments.fit(experiment)

# %% [markdown]
# ## What it became

# %%
for reading, values in metrics["readings"].items():
    print(f"{plots.SHORT[reading]:>14}: mIoU {values['miou']:.2f}   pixel accuracy {values['pixel_accuracy']:.2f}")

# %%
figure = plots.curves_figure({run.role + " " + run.method: run.log_rows()})

# %% [markdown]
# ## Some answers
#
# The first validation frames; dark is wrong.

# %%
from labkit.analysis import predictions
from labkit.datasets import frames_batch

first = range(min(2, len(experiment.val_split)))
frames = frames_batch(experiment.val_split, info, first)
answers = predictions({"teacher": experiment}, frames)
figure = plots.predictions_figure([experiment.val_split[i].image for i in first], list(frames.target), answers, info)

# %% [markdown]
# ## Operate on the label
#
# What the teacher answers with its true label, another frame's, an empty one, and one in which a region was given another class: does
# the prediction follow the label, or the image? Point at a region with x and y, and choose the class it is said to be.

# %%
from labkit import explorers, widgets

widgets.show(explorers.teacher(settings, run=run))
