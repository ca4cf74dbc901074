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
# # 02 · Student distillation: the label stays behind
#
# The student sees the image alone. Its teacher is frozen and, when assisted, is shown the noised label of every training image:
# what it adds must travel through its answers. With `teacher = ""` the student learns alone, as the twin of both.

# %% [markdown]
# ## Parameters
#
# `teacher` takes the id of a complete run, as `01_teacher_training` prints it.

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
teacher: str = ""  # run id or folder of a complete teacher; "": alone
distance: str = "recipe"  # cwd or kd; recipe: the data set's
distillation_weight: float = -1.0  # weight of the distance to the teacher; -1: recipe
distillation_temperature: float = -1.0  # divides the logits; -1: recipe
distance_stride: int = 1  # logits finer than this stride are average-pooled to it, pixels
void_in_distance: bool = True  # whether void positions enter the distance
distill_weights: str = "random"  # class weights the assisted teacher is shown
pixel_std: float = 0.02  # std of the pixel noise the assisted teacher is shown

# %%
import torch

from labkit import experiments, plots
from labkit.config import StudentSettings
from labkit.streams import stream_generator

# %%
settings = StudentSettings(
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
    teacher=teacher,
    distance=distance,
    distillation_weight=distillation_weight,
    distillation_temperature=distillation_temperature,
    distance_stride=distance_stride,
    void_in_distance=void_in_distance,
    distill_weights=distill_weights,
    pixel_std=pixel_std,
)

# %% [markdown]
# ## The run
#
# Its hash covers the teacher's checkpoint: another teacher is another student.

# %%
experiment = experiments.prepare(settings)
run, info, network = experiment.run, experiment.info, experiment.network
taught_by = experiment.teacher.run.run_id if experiment.teacher else "nobody"
print(run.run_id, "\ntaught by", taught_by)
run.settings.model_dump()

# %% [markdown]
# ## What the teacher knows
#
# Its own scores, as its record holds them: the true label is what it will be shown here.

# %%
if experiment.teacher is not None:
    for reading, values in experiment.teacher.run.metrics()["readings"].items():
        print(f"{plots.SHORT[reading]:>14}: mIoU {values['miou']:.2f}")

# %% [markdown]
# ## The step
#
# $$ \mathcal L \;=\; \mathrm{CE}(z_s, y) + \mu \, D(z_s, z_t) $$
#
# with $\mu$ = `distillation_weight`. $D$ is either pixel-wise KD,
# $\frac{T^2}{N H W} \sum_p \mathrm{KL}(\mathrm{softmax}_k(z_t/T) \,\|\, \mathrm{softmax}_k(z_s/T))$, or the channel-wise
# distance of `01`. Logits are compared at `distance_stride`, before any upsampling. The teacher runs in eval mode and without
# gradient. Before any training the terms are:

# %%
batch = experiment.train_batches[0].to(experiment.device)
step = experiments.training_step(experiment)
with torch.no_grad():
    terms = step(batch, stream_generator("noise", run.seed, 0, device=experiment.device)).terms
{name: round(value.item(), 4) for name, value in terms.items()}

# %% [markdown]
# ## Train

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
# ## Beside its teacher
#
# The first validation frames; dark is wrong.

# %%
from labkit.analysis import predictions
from labkit.datasets import frames_batch

first = range(min(2, len(experiment.val_split)))
frames = frames_batch(experiment.val_split, info, first)
shown = {"teacher": experiment.teacher, "student": experiment} if experiment.teacher else {"student": experiment}
answers = predictions(shown, frames)
figure = plots.predictions_figure([experiment.val_split[i].image for i in first], list(frames.target), answers, info)
