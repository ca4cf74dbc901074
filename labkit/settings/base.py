"""Base class of all settings, their types, and the text of a fault."""

import re
import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic.fields import FieldInfo

from labkit.errors import SettingsError, nearest_name
from labkit.settings.paths import expand_home

LARGEST_INT = 2**31 - 1  # seeds and counts are handed to libraries that take 32 bits
LARGEST_SIDE = 8192  # pixels
ECHO_LENGTH = 80  # characters of a value repeated in a message
SIZE_FORMS = "native, short:512 (shorter side, pixels) or 180x240 (height x width, pixels)"


def numbers(text: str) -> list[float]:
    """Return the numbers of a setting that holds several, separated by commas."""
    return [float(part) for part in text.split(",") if part.strip()]


def _numbers_from_0(text: str) -> str:
    try:
        values = numbers(text)
    except ValueError:
        values = []
    if not values or not all(0 <= value < float("inf") for value in values):
        raise ValueError("numbers of at least 0 separated by commas, such as 0, 0.5, 1")
    return text


def _size(text: str) -> str:
    match = re.fullmatch(r"native|short:([0-9]{1,5})|([0-9]{1,5})x([0-9]{1,5})", text)
    sides = [int(side) for side in match.groups() if side] if match else [0]
    if not all(8 <= side <= LARGEST_SIDE for side in sides):
        raise ValueError(f"{SIZE_FORMS}, sides from 8 to {LARGEST_SIDE}")
    return text


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:+/@-]{0,99}", text):
        raise ValueError("a name of at most 100 letters, digits and _ . : + / @ -")
    return text


def _path(text: str) -> str:
    if len(text) > 1000:
        raise ValueError("a path of at most 1000 characters")
    return expand_home(text)


Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Temperature = Annotated[float, Field(ge=1e-3, le=1e3, allow_inf_nan=False)]
Side = Annotated[int, Field(ge=8, le=LARGEST_SIDE)]
Size = Annotated[str, AfterValidator(_size)]
Numbers = Annotated[str, AfterValidator(_numbers_from_0)]
Name = Annotated[str, AfterValidator(_name)]
PathText = Annotated[str, AfterValidator(_path)]
Device = Literal["auto", "cpu", "cuda"]


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown names, validated once.

    Every fault is one line of a SettingsError.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, coerce_numbers_to_str=True
    )

    @field_validator("*", mode="wrap")
    @classmethod
    def _plain_values(
        cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        """Refuse what pydantic lets pass: True for 1, large counts, control characters."""
        annotation = cls.model_fields[info.field_name].annotation
        if annotation in (int, float) and isinstance(value, bool):
            raise ValueError("a number, not yes or no")
        if isinstance(value, str) and not value.isprintable():
            raise ValueError("printable characters only")
        result = handler(value)
        if annotation is int and result > LARGEST_INT:
            raise ValueError(f"at most {LARGEST_INT}")
        return result

    def __init__(self, /, **values: Any) -> None:
        faults = self._fill(values)
        if faults:
            raise SettingsError("\n".join(faults.values()), names=filter(None, faults))

    def _fill(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Set the fields; return the fault of every name without a usable value."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            return _faults(type(self), error)
        return {}

    def replace(self, **values: Any) -> Self:
        """Return a validated copy with some values replaced."""
        return type(self)(**(self.model_dump() | values))


def find_faults(settings: type[Settings], values: Mapping[str, Any]) -> dict[str, str]:
    """Return one line for every name without a usable value; contradictions have the name "".

    Args:
        settings: the class the values are for.
        values: by name; texts are converted to the field's type.
    """
    return settings.__new__(settings)._fill(values)


def echo(value: Any) -> str:
    """Return `repr` of a value for a message: escaped, at most 80 characters."""
    try:
        text = (
            repr(value) if not isinstance(value, (dict, list, tuple, set)) else reprlib.repr(value)
        )
    except (ValueError, RecursionError):  # a whole number of thousands of digits
        text = f"a {type(value).__name__} too long to print"
    return text if len(text) <= ECHO_LENGTH else text[: ECHO_LENGTH - 1] + "…"


def echo_name(name: str) -> str:
    """Return a name as a message repeats it: as it is, unless long or unprintable."""
    return name if name.isprintable() and len(name) <= ECHO_LENGTH else echo(name)


def unknown_setting(name: str, known: Any, *, of: str) -> str:
    """Return the fault line of an unknown setting, with the nearest known name."""
    return f"setting {echo_name(name)}: no such setting of {of}; {nearest_name(name[:100], known)}"


def range_text(field: FieldInfo) -> str:
    """Return the values a field accepts, for tables: "1 or more", "sgd, adamw", "yes, no"."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(map(str, get_args(field.annotation)))
    if field.annotation is bool:
        return "yes, no"
    if _size in [getattr(part, "func", None) for part in field.metadata]:
        return "native, short:512, 180x240"
    words = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}"}
    limits = {
        key: value
        for part in field.metadata
        for key in words
        if (value := getattr(part, key, None)) is not None
    }
    return ", ".join(words[key].format(f"{value:g}") for key, value in limits.items())


def _faults(settings: type[Settings], error: ValidationError) -> dict[str, str]:
    """Return one line for each faulty name, in the order of the error."""
    lines: dict[str, str] = {}
    for fault in error.errors():
        name = str(fault["loc"][0]) if fault["loc"] else ""
        lines.setdefault(name, _fault_line(settings, name, fault))
    return lines


def _fault_line(settings: type[Settings], name: str, fault: Any) -> str:
    """Return one line: name, what came, what is expected, and what the setting means."""
    reason = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if not name:
        return reason
    if fault["type"] == "extra_forbidden":
        return unknown_setting(name, settings.model_fields, of=settings.__name__)
    field = settings.model_fields[name]
    if fault["type"] == "missing":
        return f"setting {name}: is missing; expected a value ({field.description})."
    if fault["type"] == "literal_error":
        reason = "one of " + ", ".join(map(str, get_args(field.annotation)))
    value = fault["input"]
    with_unit = r"\s*[-+]?[0-9.]+(e[-+]?[0-9]+)?\s*[a-zA-Zµ%]+\s*"
    hint = ""
    if isinstance(value, str) and len(value) < 40 and re.fullmatch(with_unit, value):
        hint = " Give the number without a unit."
    meaning = f" ({field.description})" if field.description else ""
    return f"setting {name}: got {echo(value)}; expected {reason}{meaning}.{hint}"
