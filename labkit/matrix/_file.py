"""A matrix file: which runs are wanted, as a person writes it. Everything is checked here, before anything is planned."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import yaml
from pydantic import Field, StrictInt, StrictStr

from labkit.config import Settings, SettingsError, StudentSettings, TeacherSettings, TrainSettings, nearest_name
from labkit.recipes import NOT_IN_THE_RECIPE
from labkit.records import project_root, runs_folder

Scalar = bool | int | float | str
Values = dict[StrictStr, Scalar]
HERE = frozenset({"dataset", "seed", "teacher", "runs"})  # settings the matrix gives itself
SAME = "recipe"  # a network as the data set's recipe has it


class Matrix(Settings):
    """datasets x teacher networks x student networks x noise x methods x seeds.

    A method is a student's settings; its `teacher` names one of `teachers`, and `as_long_as` one whose steps are added to the
    student's own: the twin that has no teacher but the same compute. A network is `architecture/encoder`, or `recipe`.
    """

    title: str = Field(description="one line, above the tables")
    datasets: list[str] = Field(["streets"], min_length=1, description="names of files in labkit/datasets")
    seeds: list[StrictInt] = Field(min_length=1, description="every run is made for each")
    runs: str = Field("runs/matrix", description="folder of run folders, from the project's root")
    figures: str = Field("", description='where tables and figures go, from the project\'s root; "": <runs>/figures/<file>')
    settings: Values = Field({}, description="settings of every run; teacher.NAME and student.NAME reach that role alone")
    teacher_networks: list[str] = Field([SAME], min_length=1, description="architecture/encoder, or recipe")
    student_networks: list[str] = Field([SAME], min_length=1, description="architecture/encoder, or recipe")
    noise: dict[StrictStr, list[Scalar]] = Field({}, description="settings of assisted teachers, each with the values it takes")
    teachers: dict[StrictStr, Values] = Field({}, description="settings by name of teacher")
    methods: dict[StrictStr, Values] = Field({}, description="settings of the student by name of method")
    compare: list[tuple[str, str]] = Field([], description="pairs of methods: gain of the first over the second")


class MatrixFile(Matrix):
    """A matrix with the file it came from."""

    path: Path

    @property
    def runs_folder(self) -> Path:
        return runs_folder(self.runs)

    @property
    def figures_folder(self) -> Path:
        return project_root() / self.figures if self.figures else self.runs_folder / "figures" / self.path.stem

    @property
    def book(self) -> Path:
        """Where the scheduler keeps receipts, logs and locks: beside the runs, shared by every matrix over them."""
        return self.runs_folder / ".matrix"


def read_matrix(path: str | Path) -> MatrixFile:
    """A matrix file, checked.

    Args:
        path: YAML; relative to the working directory, or where there is none to the project's root.

    Raises:
        SettingsError: it cannot be read, or everything that is wrong with it, one fault a line.
    """
    found = next((file for file in (Path(path), project_root() / path) if file.is_file()), None)
    if found is None:
        raise SettingsError(f"matrix {path}: no such file; expected a YAML file such as labkit/workflow/tiny.yaml.")
    try:
        values = yaml.load(found.read_text(encoding="utf-8"), _NoDoubles)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"matrix {path}: found no YAML ({error}); expected one mapping of names to values.") from error
    if not isinstance(values, dict):
        raise SettingsError(f"matrix {path}: found a {type(values).__name__}; expected one mapping of names to values.")
    given = {str(name): {} if value is None else value for name, value in values.items()}
    try:
        matrix = MatrixFile(**Matrix(**given).model_dump(), path=found.resolve())
    except SettingsError as error:
        raise SettingsError("\n".join(f"matrix {found.name}: {line}" for line in str(error).splitlines())) from None
    if faults := list(chain(_names(matrix), _settings(matrix), _repeats(matrix))):
        raise SettingsError("\n".join(f"matrix {found.name}: {fault}" for fault in faults))
    return matrix


class _NoDoubles(yaml.SafeLoader):
    """A name given twice is a mistake, not the second value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        names = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for name in names:
            if names.count(name) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{name!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _names(matrix: Matrix) -> Iterator[str]:
    """Names that point nowhere."""
    if not matrix.teachers and not matrix.methods:
        yield "no teachers and no methods; expected some of either."
    for name, values in matrix.methods.items():
        for key in ("teacher", "as_long_as"):
            if key in values and values[key] not in matrix.teachers:
                yield f"method {name}: {key} is {values[key]!r}; {nearest_name(str(values[key]), matrix.teachers)}"
        if "teacher" in values and "as_long_as" in values:
            yield f"method {name}: has both teacher and as_long_as; expected one: as_long_as is for a student without a teacher."
        if "as_long_as" in values and "train_steps" in values:
            yield f"method {name}: has both as_long_as and train_steps; expected one, each says how long it trains."
    for name in chain.from_iterable(matrix.compare):
        if name not in matrix.methods:
            yield f"compare: no method {name!r}; {nearest_name(name, matrix.methods)}"
    for network in (*matrix.teacher_networks, *matrix.student_networks):
        if network != SAME and network.count("/") != 1:
            yield f"network {network!r}: expected architecture/encoder, such as unet/resnet18, or recipe."


def _settings(matrix: Matrix) -> Iterator[str]:
    """Settings nobody knows, or that the matrix gives itself. Their values are checked run by run."""
    roles: dict[str, set[str]] = {"teacher": set(TeacherSettings.model_fields), "student": set(StudentSettings.model_fields)}
    given = [("settings", full, roles.get(full.rpartition(".")[0], set())) for full in matrix.settings if "." in full]
    given += [("settings", full, roles["teacher"] | roles["student"]) for full in matrix.settings if "." not in full]
    given += [("noise", name, roles["teacher"] - set(TrainSettings.model_fields) - {"method"}) for name in matrix.noise]
    given += [(f"teacher {who}", name, roles["teacher"]) for who, values in matrix.teachers.items() for name in values]
    own = {"teacher", "as_long_as"}
    given += [(f"method {who}", name, roles["student"]) for who, values in matrix.methods.items() for name in values if name not in own]
    for where, full, known in given:
        name = full.rpartition(".")[2]
        if name in HERE:
            yield f"{where}: {full} is not a setting here; the matrix says it itself (datasets, seeds, teachers, runs)."
        elif name not in known:
            yield f"{where}: no setting {full}; {nearest_name(name, known or roles['teacher'] | roles['student'])}"


def _repeats(matrix: Matrix) -> Iterator[str]:
    """Values given twice, and seeds below 0."""
    axes = {name: getattr(matrix, name) for name in ("datasets", "seeds", "teacher_networks", "student_networks")} | matrix.noise
    for name, values in axes.items():
        if not values or len(set(values)) < len(values):
            yield f"{name}: got {values}; expected each value once, and at least one."
    if min(matrix.seeds) < 0:
        yield f"seeds: got {min(matrix.seeds)}; expected whole numbers of at least 0."
    if local := NOT_IN_THE_RECIPE & matrix.noise.keys():
        yield f"noise: {', '.join(sorted(local))} changes no result; expected settings that do."
