"""Lines of `labkit distillers`: the table of all, and calibrated weights."""

from collections.abc import Iterator, Mapping

from labkit.errors import SettingsError


def distiller_lines() -> Iterator[str]:
    """A table of the distillers, their options, and how one is named in a setting."""
    from labkit.distillers import available, distiller_facts, distiller_settings

    rows = [distiller_facts(name) for name in available()]
    head = {"name": "name", "kind": "compares", "tap": "tap", "weight": "weight", "summary": ""}
    texts = [{key: str(value) for key, value in row.items()} for row in (head, *rows)]
    widths = {key: max(len(text[key]) for text in texts) for key in head}
    for text in texts:
        yield "  ".join(value.ljust(widths[key]) for key, value in text.items()).rstrip()
    yield 'one or several: --set distillation="cwd:3+at:calibrated"; no weight: its default'
    yield "options, as --set NAME.OPTION=VALUE:"
    for name in available():
        options = distiller_settings(name).items()
        yield f"  {name}: {', '.join(f'{key}={value}' for key, value in options)}"


def calibration_lines(values: Mapping[str, str]) -> Iterator[str]:
    """Gradient norms and proposed weights of distillers, for a teacher and a student's settings.

    Args:
        values: settings of a student: `teacher`, a complete run, and others; `distillation` names
            the distillers, default all. Weights in it do not matter.

    Raises:
        LabkitError: by kind; nothing is written.
    """
    from labkit.distillers import available, distiller_settings, parse_distillation
    from labkit.training.calibration import BATCHES, measure
    from labkit.training.experiment import distillation_noising, plan_run, prepare

    if not values.get("teacher"):
        raise SettingsError(
            "labkit distillers calibrate: no teacher; expected --set teacher=RUN, a complete run "
            "(labkit runs lists them).",
            names=["teacher"],
        )
    names = list(parse_distillation(values.get("distillation") or "+".join(available())))
    text = "+".join(names)
    given = {name: value for name, value in values.items() if not name.endswith(".weight")}
    run = plan_run("student", given | {"distillation": text})
    experiment = prepare(run)
    weights, norms = measure(experiment, distillation_noising(experiment), text)
    yield (
        f"student at its initialisation, seed {run.seed}, taught by {run.teacher.run_id}; "
        f"means over {BATCHES} batches of {run.settings.batch_size}"
    )
    yield f"gradient norm of the cross-entropy at the last encoder stage: {norms['ce']:.4g}"
    form = "{:<16} {:>22} {:>10} {:>11}"
    yield form.format("distiller", "gradient norm at 1", "customary", "calibrated")
    for name in names:
        customary = f"{distiller_settings(name)['weight']:g}"
        yield form.format(name, f"{norms[name]:.4g}", customary, f"{weights[name]:g}")
