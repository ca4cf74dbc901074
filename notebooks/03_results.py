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
# # 03 · Results: does a teacher help, by how much, and is it more than chance?
#
# You will learn to read three tables: what the label does for a teacher, what each student reaches, and how much it **gains**
# over the same student without a teacher, with two intervals. Then where the gain lies, and what the networks predict.
#
# ![Gain of each student over its baseline, with intervals](../figures/streets/confirmation/gains.png)
#
# Everything comes from the complete runs of one matrix file (`labkit matrix FILE` makes them). A row without any run has dashes.
#
# | word | meaning |
# |---|---|
# | plain, assisted | a teacher that sees the image, or the image and its noised label |
# | foreign label | the label of another frame |
# | reliance | teacher's mIoU with the true label minus with a foreign one |
# | label gain | teacher's mIoU with the true label minus with an empty one |
# | void | pixels without a class: they count in no score |
# | baseline | the same student without a teacher, with the same seeds and frames |

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
matrix: str = "labkit/batch/matrices/demo.yaml"  # matrix file, from the project's root
data_root: str = ""  # folder that holds the data sets; "": environment variable LABKIT_DATA
category: str = ""  # class that the drawn frames hold; "": car, else the first class
frames: int = 2  # frames whose predictions are drawn
draws: int = 2000  # draws of the bootstrap behind every interval
seed: int = 0  # of the bootstrap
device: str = "auto"  # auto: cuda where there is one
threads: int = 0  # CPU threads; 0: as torch chooses
figures: str = ""  # folder of tables and figures; "": the matrix's own
overrides: str = ""  # any other settings, as --set takes them, separated by commas

# %%
from IPython.display import Markdown

from labkit import explore, plots
from labkit.attribution import hero, predictions
from labkit.batch.matrix import read_matrix
from labkit.batch.status import study_of
from labkit.records.artifacts import write_records
from labkit.settings import AttributionSettings, ResultsSettings, absolute_path, parse_overrides
from labkit.study.build import study_tables, write_tables
from labkit.study.figures import one_of_each_kind, save_study_figure
from labkit.study.rows import complete_runs

# %%
values = dict(matrix=matrix, data_root=data_root, category=category, frames=frames, draws=draws)
values |= dict(seed=seed, device=device, threads=threads, figures=figures)
settings = ResultsSettings(**values | parse_overrides(overrides))
matrix_file = read_matrix(settings.matrix)
folder = absolute_path(settings.figures) if settings.figures else matrix_file.figures_folder
record = {"parameters": settings.model_dump() | {"matrix": matrix_file.path.name}}

# %% [markdown]
# ## The study

# %%
study = study_of(matrix_file)
finished = complete_runs(study)
tables = study_tables(study, draws=settings.draws, seed=settings.seed)
files = write_tables(tables, folder, **record) if finished else []
print(f"{study.title}: {len(finished)} complete runs, {len(files)} tables in {folder}")
if not finished:
    print(f"No run is complete and nothing is saved. First: labkit matrix {settings.matrix}")

# %% [markdown]
# ## Compare runs
# Any two or three of them on one frame: swipe from one prediction to the other, see which is right where, and go to the frames on which
# a class gains or loses most.

# %%
runs = dict(runs=str(matrix_file.runs_folder), data_root=settings.data_root)
explore.show(explore.compare(AttributionSettings(dataset=matrix_file.datasets[0], **runs)))

# %% [markdown]
# ## Teachers
# *Before you look: which reading should score highest, and which one tells whether the teacher needs its label?*
#
# `last` is the mIoU at the last step, with the true label where the teacher reads one. An assisted teacher without reliance
# ignores its label.

# %%
Markdown(tables.markdown("teachers"))

# %%
Markdown(tables.markdown("teacher_gains"))

# %%
save_study_figure(tables, "teacher_gains", folder, plots.gains_figure, **record)

# %% [markdown]
# Where the rows vary both kinds of noise: a good recipe is high in both maps.

# %%
save_study_figure(tables, "noise_diagram", folder, plots.noise_diagram_figure, **record)

# %% [markdown]
# ## Students
# `last` counts. `best` is the maximum over a run's evaluations, chosen on the frames it is judged by, so it never stands alone.
# `with teacher` adds the teacher's seconds: the cost of a gain.

# %%
Markdown(tables.markdown("students"))

# %%
save_study_figure(tables, "learning_curves", folder, plots.learning_curves_figure, **record)

# %% [markdown]
# ## Gains
# *Before you look: how many points must a student gain before you believe it, with one seed? With three?*
#
# The bootstrap (thick bar) resamples seeds and frames together, the same ones for both methods. With three seeds or fewer its interval is too
# narrow, so read the t-test's (thin bar) and every seed's own gain, too. An interval that holds 0 does not show a gain.

# %%
Markdown(tables.markdown("gains"))

# %%
save_study_figure(tables, "gains", folder, plots.gains_figure, **record)

# %% [markdown]
# Each student beside its teacher: does a stronger teacher, or one that relies more on its label, teach better?

# %%
save_study_figure(tables, "overview", folder, plots.overview_figure, **record)

# %%
save_study_figure(tables, "label_use", folder, plots.label_use_figure, **record)

# %% [markdown]
# With training sets of several sizes: for which amount of data does a teacher help?

# %%
save_study_figure(tables, "size_gains", folder, plots.size_gains_figure, **record)

# %% [markdown]
# ## Where the gain lies
# By class: one class may carry the mean. The bootstrap's interval of bold numbers leaves out 0.

# %%
save_study_figure(tables, "class_gains", folder, plots.class_gains_figure, **record)

# %% [markdown]
# Where a class fills little of a frame, or much? IoU summed over classes of similar area.

# %%
save_study_figure(tables, "area_gains", folder, plots.area_gains_figure, **record)

# %% [markdown]
# Near class boundaries, or inside regions?

# %%
save_study_figure(tables, "region_gains", folder, plots.region_gains_figure, **record)

# %% [markdown]
# ## What they predict
# The method on one frame: what the teacher sees and predicts with its label and without, and its student, who never sees a label.

# %%
shown = one_of_each_kind(study)
place = {"device": settings.device, "threads": settings.threads, "data_root": settings.data_root}
hero.save_hero(shown, folder, plots.hero_figure, **record, category=settings.category, **place)

# %% [markdown]
# The frames follow one rule for every method: those in which the chosen class fills at least 3 % of the labelled pixels, spread
# evenly over the split. An assisted teacher is shown with its true and with a foreign label.

# %%
chosen = {"category": settings.category, "count": settings.frames}
predictions.save_predictions(shown, folder, plots.predictions_figure, **record, **chosen, **place)

# %% [markdown]
# ## In short

# %%
if finished:
    write_records(finished, folder)  # manifest, settings and log of every run, beside the tables
Markdown(tables.margins())

# %% [markdown]
# **Takeaway.** A gain counts when it is over the same student without a teacher, over several seeds, and above what longer training brings.
#
# Next: [04 · Attribution](04_attribution.ipynb) asks where an assisted teacher's prediction comes from, image or label.
