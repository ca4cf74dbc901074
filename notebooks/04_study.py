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

# %% [markdown]
# # 04 · Study: does a gain hold over seeds and frames, against its twin?
#
# Everything here comes from the **complete** runs of one matrix file. A run that is missing leaves a dash, and `n` says how many seeds
# a number rests on. Run the matrix first: `labkit matrix FILE`.

# %% [markdown]
# ## Parameters

# %% tags=["parameters"]
matrix: str = "labkit/workflow/tiny.yaml"  # matrix file; a relative path starts at the project's root
data_root: str = ""  # folder that holds the data sets; "": environment variable LABKIT_DATA
boundary_width: int = 2  # a pixel is near a boundary with another class within so many pixels
draws: int = 2000  # draws of the bootstrap behind every interval
device: str = "auto"  # auto: cuda where there is one
threads: int = 0  # CPU threads; 0: as torch chooses
figures: str = ""  # where tables and figures go; "": the matrix file's own

# %%
from pathlib import Path

from IPython.display import Markdown

from labkit import plots, products, studies, tables
from labkit.config import StudySettings
from labkit.matrix import read_matrix, study
from labkit.records import project_root

# %%
settings = StudySettings(
    matrix=matrix,
    data_root=data_root,
    boundary_width=boundary_width,
    draws=draws,
    device=device,
    threads=threads,
    figures=figures,
)

# %% [markdown]
# ## The study

# %%
asked = read_matrix(settings.matrix)
found = study(asked)
folder = project_root() / settings.figures if settings.figures else asked.figures_folder
rows = [*found.teachers, *found.students]
finished = studies.complete_runs(rows)
recipe = {"runs": finished, "parameters": settings.model_dump() | {"matrix": Path(settings.matrix).name}}
print(f"{found.title}: {len(found.teachers)} teacher rows, {len(found.students)} student rows, {len(finished)} complete runs")

# %% [markdown]
# ## Teachers
# `last` is the mIoU at the last step, with the true label where the teacher reads one. **Reliance** is true minus foreign label, **label gain**
# true minus zero label: an assisted teacher without reliance is a plain one, whatever its name.

# %%
teachers, note = studies.teachers_table(found), studies.protocol_line(found.teachers)
for file in studies.write_table("teachers", teachers, folder, notes=[note]):
    products.record_product(file, caption=f"Teachers of the study {found.title}. {note}", **recipe)
Markdown((folder / "teachers.md").read_text())

# %% [markdown]
# Where rows vary both kinds of noise, the **noise diagram**: is the teacher better with its label, and does it use it? A good recipe is high in both.

# %%
caption = "Teacher mIoU with the true label, and reliance, by the std of class weights and of pixel noise; mean over seeds; "
for number, (kind, cells) in enumerate(studies.noise_diagrams(teachers).items(), start=1):
    diagram = plots.noise_diagram_figure(cells, title=kind)
    alt = f"Two heat maps with values, {len(cells)} noise settings of {kind}: mIoU with the true label, and reliance."
    products.save_figure(diagram, folder / f"noise_diagram_{number}.png", caption=caption + kind + ".", alt=alt, **recipe)

# %% [markdown]
# ## Students
# `last` counts. `best` is the maximum over a run's evaluations, chosen on the frames it is judged by: it flatters, more so the more often a run
# was evaluated, so it never stands alone. `teacher` and `its reliance` say who taught: its mIoU with the true label, and true minus foreign.
# `with teacher` adds the teacher's seconds: what a gain has cost.

# %%
students, note = studies.students_table(found), studies.protocol_line(found.students)
for file in studies.write_table("students", students, folder, notes=[note]):
    products.record_product(file, caption=f"Students of the study {found.title}. {note}", **recipe)
Markdown((folder / "students.md").read_text())

# %% [markdown]
# ## Gains over the twin
# A gain is worth something only over its **twin**: the same student, recipe, seeds and frames without a teacher (and over a student trained as
# long as teacher and student together, where the matrix has one). Seeds and frames are resampled together, and both methods meet the same
# ones. An interval that holds 0 is no gain; with three seeds it is too narrow, so look at every seed's own gain and at the t-test, too.

# %%
where = {"data_root": settings.data_root, "device": settings.device, "threads": settings.threads}
measured = studies.measure(found, boundary_width=settings.boundary_width, **where)
gains = studies.gains_table(found, measured, draws=settings.draws)
made = studies.interval_line(found, measured, draws=settings.draws, boundary_width=settings.boundary_width)
for file in studies.write_table("gains", gains, folder, notes=[note, made]):
    products.record_product(file, caption=f"Paired gains of the study {found.title}. {note} {made}", **recipe)
Markdown((folder / "gains.md").read_text())

# %%
if len(gains):
    forest = plots.gains_figure(gains)
    alt = f"Forest plot of {len(gains)} paired gains in mIoU with 95 percent intervals and the gain of every seed, a panel per twin."
    products.save_figure(forest, folder / "gains.png", caption=f"Gain over the twin. {note} {made}", alt=alt, **recipe)

# %% [markdown]
# ## Where the gain lies
# By class: the mean over classes hides that one class may carry it. A dot whose bar crosses 0 may be luck.

# %%
by_class = studies.class_gains_table(found, measured, draws=settings.draws)
caption = f"Gain of every class over the first baseline, points of IoU. {note} {made}"
products.record_product(tables.write_csv(by_class, folder / "class_gains.csv"), caption=caption, **recipe)
for dataset, lines in by_class.groupby("dataset", sort=False):
    drawn = plots.class_gains_figure(lines)
    alt = f"Gain in IoU of every class of {dataset} with 95 percent intervals, one colour and shape per method."
    products.save_figure(drawn, folder / f"class_gains_{dataset}.png", caption=caption, alt=alt, **recipe)

# %% [markdown]
# Near boundaries or inside: above the diagonal a method draws outlines better than its twin, below it names regions better.

# %%
if len(gains):
    regions = plots.region_gains_figure(gains)
    alt = "Scatter of the gain near class boundaries against the gain inside, with 95 percent intervals and the diagonal."
    caption = f"Gain near boundaries against gain inside, over the first twin. {note} {made}"
    products.save_figure(regions, folder / "region_gains.png", caption=caption, alt=alt, **recipe)

# %% [markdown]
# ## The record of every run, its manifest and log, lies beside the tables

# %%
products.write_records(finished, folder)
print(folder.name, *sorted(path.name for path in folder.iterdir() if path.is_file()), sep="\n  ")
