"""A matrix file: which runs are wanted. Its form and names are checked before it is planned."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from pydantic import Field, StrictInt, StrictStr

from labkit import distillers
from labkit.batch.yaml_file import load_mapping
from labkit.errors import SettingsError, nearest_name
from labkit.records.folders import figures_folder, runs_folder
from labkit.settings.base import Settings, echo
from labkit.settings.fields import (
    LOCAL_FIELDS,
    AssistedStudentSettings,
    TeacherSettings,
    TrainSettings,
)
from labkit.settings.paths import project_root

Scalar = bool | int | float | str
Values = dict[StrictStr, Scalar]
GIVEN = frozenset({"dataset", "seed", "teacher", "runs"})  # settings that the matrix gives itself
TAUGHT = ("teacher", "as_long_as")  # names of teachers among a method's settings
RECIPE = "recipe"  # a network as the data set's recipe has it
LARGEST_SEED = 2**31 - 1
LONGEST_NAME = 80


class Matrix(Settings):
    """datasets x training sizes x teacher networks x student networks x noise x methods x seeds.

    A method is a student's settings; its `teacher` names one of `teachers`, and `as_long_as` one
    whose steps are added to the student's own: a student without a teacher at the same compute. A
    network is `architecture/encoder`, or `recipe`.
    """

    title: str = Field(description="one line, above the tables")
    datasets: list[str] = Field(
        ["streets"], min_length=1, description="names of files in labkit/datasets"
    )
    seeds: list[StrictInt] = Field(min_length=1, description="every run is made for each")
    train_sizes: dict[StrictInt, Values] = Field(
        {}, description="training images used, the first ones, each with settings of its own"
    )
    runs: str = Field("runs", description="folder of run folders, from the project's root")
    figures: str = Field(
        "",
        description='folder of tables and figures; "": <runs>/figures/<file>',
    )
    settings: Values = Field(
        {}, description="settings of every run; teacher.NAME and student.NAME reach that role alone"
    )
    teacher_networks: list[str] = Field(
        [RECIPE], min_length=1, description="architecture/encoder, or recipe"
    )
    student_networks: list[str] = Field(
        [RECIPE], min_length=1, description="architecture/encoder, or recipe"
    )
    noise: dict[StrictStr, list[Scalar]] = Field(
        {}, description="settings of assisted teachers, each with the values it takes"
    )
    teachers: dict[StrictStr, Values] = Field({}, description="settings by name of teacher")
    methods: dict[StrictStr, Values] = Field(
        {}, description="settings of the student by name of method"
    )
    compare: list[tuple[str, str]] = Field(
        [], description="pairs of methods: gain of the first over the second"
    )
    tried: StrictInt = Field(
        0, ge=0, description="settings tried until these were chosen; 0: not counted"
    )
    attribution: bool = Field(False, description="run the attribution notebook after the tables")
    report: bool = Field(False, description="keep an executed notebook of every run")


class MatrixFile(Matrix):
    """A matrix with the file it came from."""

    path: Path

    @property
    def runs_folder(self) -> Path:
        return runs_folder(self.runs)

    @property
    def figures_folder(self) -> Path:
        return figures_folder(self.figures, self.runs, self.path.stem)

    @property
    def state_folder(self) -> Path:
        """Receipts, logs and locks: beside the runs, shared by every matrix over them."""
        return self.runs_folder / ".matrix"


def read_matrix(path: str | Path) -> MatrixFile:
    """A matrix file, checked.

    Args:
        path: YAML; relative to the working directory, or where there is none to the project's root.

    Raises:
        SettingsError: it cannot be read, or everything that is wrong with it, one fault a line.
    """
    file = find_matrix(path)
    values = load_mapping(file, f"matrix {file.name}")
    given = {str(name): {} if value is None else value for name, value in values.items()}
    try:
        matrix = MatrixFile(**Matrix(**given).model_dump(), path=file.resolve())
    except SettingsError as error:
        lines = str(error).splitlines()
        raise SettingsError("\n".join(f"matrix {file.name}: {line}" for line in lines)) from None
    checks = (_check_text, _check_names, _check_settings, _check_axes)
    if faults := [fault for check in checks for fault in check(matrix)]:
        raise SettingsError("\n".join(f"matrix {file.name}: {fault}" for fault in faults))
    return matrix


def find_matrix(path: str | Path) -> Path:
    """The file by its path.

    Raises:
        SettingsError: there is none.
    """
    for file in (Path(path).expanduser(), project_root() / path):
        try:
            if file.is_file():
                return file
        except (OSError, ValueError):  # a name that no file can have
            continue
    ours = "labkit/batch/matrices/tiny.yaml"
    raise SettingsError(
        f"matrix {str(path)[:200]!r}: no such file; expected a YAML file such as {ours}."
    )


def networks_of(network: str) -> dict[str, str]:
    """Settings of a network of an axis; none where it is the recipe's."""
    return (
        {}
        if network == RECIPE
        else dict(zip(("architecture", "encoder"), network.split("/"), strict=True))
    )


def _check_text(matrix: Matrix) -> Iterator[str]:
    """Names and titles with control characters, which would reach a terminal or a table."""
    named = [
        ("title", matrix.title, 200),
        ("runs", matrix.runs, 1000),
        ("figures", matrix.figures, 1000),
    ]
    named += [("teacher", name, LONGEST_NAME) for name in matrix.teachers]
    named += [("method", name, LONGEST_NAME) for name in matrix.methods]
    for kind, text, longest in named:
        if not text.isprintable() or len(text) > longest:
            yield f"{kind} {echo(text)}: expected one line of printable letters, at most {longest}."


def _check_names(matrix: Matrix) -> Iterator[str]:
    """Names that refer to nothing."""
    if not matrix.teachers and not matrix.methods:
        yield "no teachers and no methods; expected some of either."
    for name, values in matrix.methods.items():
        for key in TAUGHT:
            if key in values and values[key] not in matrix.teachers:
                hint = nearest_name(str(values[key])[:LONGEST_NAME], matrix.teachers)
                yield f"method {echo(name)}: {key} is {echo(values[key])}; {hint}"
        if "teacher" in values and "as_long_as" in values:
            yield (
                f"method {echo(name)}: has both teacher and as_long_as; expected one: "
                "as_long_as is for a student without a teacher."
            )
        if "as_long_as" in values and "train_steps" in values:
            yield f"method {echo(name)}: has both as_long_as and train_steps; expected one of them."
    for name in chain.from_iterable(matrix.compare):
        if name not in matrix.methods:
            hint = nearest_name(name[:LONGEST_NAME], matrix.methods)
            yield f"compare: no method {echo(name)}; {hint}"
    for network in (*matrix.teacher_networks, *matrix.student_networks):
        if network != RECIPE and network.count("/") != 1:
            yield f"network {echo(network)}: expected architecture/encoder, such as unet/resnet18."


def _check_settings(matrix: Matrix) -> Iterator[str]:
    """Settings that do not exist or that the matrix gives itself; values are checked by run."""
    roles = {
        "teacher": set(TeacherSettings.model_fields),
        "student": set(AssistedStudentSettings.model_fields) - {"distiller_options"},
    }
    both = roles["teacher"] | roles["student"]
    given: list[tuple[str, str, set[str]]] = []
    for full in matrix.settings:
        role, dot, name = full.partition(".")
        given.append(
            ("settings", *((name, roles[role]) if dot and role in roles else (full, both)))
        )
    noise = roles["teacher"] - set(TrainSettings.model_fields)
    given += [("noise", name, noise) for name in matrix.noise]
    for size, values in matrix.train_sizes.items():
        given += [(f"train_sizes {size}", name, both) for name in values]
    for who, values in matrix.teachers.items():
        known = roles["teacher"] | {"assisted"}
        given += [(f"teacher {echo(who)}", name, known) for name in values]
    for who, values in matrix.methods.items():
        own = [name for name in values if name not in TAUGHT]
        given += [(f"method {echo(who)}", name, roles["student"]) for name in own]
    known_distillers = set(distillers.available())
    for where, name, known in given:
        if name in GIVEN:
            yield (
                f"{where}: {name} is not a setting here; the matrix gives it itself "
                "(datasets, seeds, teachers, runs)."
            )
        elif name == "assisted" and name not in known:
            yield (
                f"{where}: assisted is not a setting here; expected it under teachers, "
                "such as teachers: {plain: {assisted: false}}."
            )
        elif name not in known and not _is_distiller_option(name, known, known_distillers):
            yield f"{where}: no setting {echo(name)}; {nearest_name(name[:LONGEST_NAME], known)}"


def _is_distiller_option(name: str, known: set[str], known_distillers: set[str]) -> bool:
    """Whether a name is such as cwd.temperature; the option itself is checked with the runs."""
    return "distillation" in known and "." in name and name.partition(".")[0] in known_distillers


def _check_axes(matrix: Matrix) -> Iterator[str]:
    """Values given twice, seeds out of range, and noise that changes no result."""
    names = ("datasets", "seeds", "teacher_networks", "student_networks")
    axes = {name: getattr(matrix, name) for name in names}
    axes |= {f"noise {echo(name)}": values for name, values in matrix.noise.items()}
    for name, values in axes.items():
        if not values or len(set(values)) < len(values):
            yield f"{name}: got {echo(values)}; expected each value once, and at least one."
    for seed in {min(matrix.seeds), max(matrix.seeds)}:
        if not 0 <= seed <= LARGEST_SEED:
            yield f"seeds: got {echo(seed)}; expected whole numbers from 0 to {LARGEST_SEED}."
    sizes, teachers, methods = matrix.train_sizes, matrix.teachers, matrix.methods
    given = (matrix.settings, *sizes.values(), *teachers.values(), *methods.values())
    names = {name.rpartition(".")[2] for values in given for name in values}
    if matrix.train_sizes and "train_size" in names:
        yield "train_size: given beside train_sizes; expected one of them."
    if local := LOCAL_FIELDS & matrix.noise.keys():
        yield f"noise: {', '.join(sorted(local))} changes no result; expected settings that do."
