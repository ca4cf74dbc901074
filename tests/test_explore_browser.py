"""The explorers as people use them: in a real JupyterLab, in a real browser, by keyboard."""

import shutil
from dataclasses import replace
from importlib.resources import files

import nbformat
import pytest
from nbconvert import HTMLExporter

from labkit import explore
from labkit.batch.notebook import execute
from labkit.settings import AttributionSettings, NoisingSettings, parse_overrides
from labkit.settings.paths import project_root
from labkit.training.fit import fit
from tests import lab
from tests.training import teacher

pytestmark = lab.MARKS
SMALL = {
    "train_size": 8, "val_size": 6, "resize": "32x64", "score_size": "32x64", "crop_height": 32,
    "crop_width": 64, "batch_size": 2, "train_steps": 6, "log_every_steps": 1,
    "encoder": "tu-mobilenetv3_small_050", "device": "cpu", "threads": 1,
}  # fmt: skip
OVERRIDES = ", ".join(f"{name}={value}" for name, value in SMALL.items())
SHORT = {
    "frames": 1, "noisings": 1, "split_frames": 2, "device": "cpu",
    "overrides": "threads=1, curve_frames=2, pixel_stds=0, 1, label_scales=0, 1, gradient_steps=2",
}  # fmt: skip
STEMS = {
    "noising": "00_label_noising",
    "teacher": "01_teacher_training",
    "contribution": "04_attribution",
}

OFFER = """\
from labkit import explore
from labkit.explore import teachers
from labkit.settings import AttributionSettings

teachers.SMALL_TEACHER |= {{"train_steps": 5, "train_size": 4, "val_size": 4}}
explore.show(explore.contribution(AttributionSettings(runs={runs!r})))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with one assisted teacher, barely trained."""
    folder = tmp_path_factory.mktemp("browser") / "runs"
    values = {name: value for name, value in SMALL.items() if name not in ("device", "threads")}
    fit(teacher(folder, **values))
    return folder


@pytest.fixture(scope="module")
def parameters(runs):
    """What each notebook is run with."""
    where = {"runs": str(runs)}
    return {
        "noising": where,
        "teacher": where | {"overrides": OVERRIDES},
        "contribution": where | SHORT,
    }


@pytest.fixture(scope="module")
def address(tmp_path_factory, parameters):
    root, private = tmp_path_factory.mktemp("served"), tmp_path_factory.mktemp("lab")
    folder = root / "notebooks"
    folder.mkdir()
    for picture in (project_root() / "figures").rglob("*.png"):  # the notebooks show some of them
        copy = root / picture.relative_to(project_root())
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, copy)
    for name, stem in STEMS.items():
        lab.write_notebook(stem, folder, parameters[name])
    lab.write_notebook("02_student_distillation", folder, parameters["teacher"])
    matrix = private / "matrix.yaml"
    matrix.write_text(
        f"title: Nothing yet\nseeds: [0]\nruns: {private / 'matrix'}\nmethods: {{alone: {{}}}}\n"
    )
    lab.write_notebook("03_results", folder, {"matrix": str(matrix)})
    lab.write_cell("1 + 1", folder / "empty.ipynb")
    lab.write_cell(OFFER.format(runs=str(private / "runs")), folder / "offer.ipynb")
    with lab.jupyter_lab(root, private) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with lab.browser_open() as browser:
        yield browser


@pytest.fixture(scope="module")
def usual_errors(browser, address):
    """What the console says of an empty notebook."""
    notebook = lab.Notebook(browser, address, "notebooks/empty")
    assert notebook.run_all() == []
    notebook.page.wait_for_timeout(1000)
    notebook.close()
    return set(notebook.errors)


@pytest.fixture(scope="module")
def shown(browser, address, usual_errors):
    """name -> that notebook, opened and run once."""
    opened = {}

    def show(name):
        if name not in opened:
            opened[name] = lab.Notebook(browser, address, f"notebooks/{STEMS[name]}")
            assert opened[name].run_all() == []
            opened[name].settle(0)
        opened[name].page.bring_to_front()
        return opened[name]

    yield show
    for notebook in opened.values():
        notebook.close()


@pytest.fixture(scope="module")
def expected(parameters):
    """The same explorers without a page."""
    given = dict(parameters["contribution"])
    given |= parse_overrides(given.pop("overrides"))
    made = {
        "noising": explore.noising(NoisingSettings(**parameters["noising"], label_scale=3.0)),
        "teacher": explore.teacher(AttributionSettings(runs=parameters["teacher"]["runs"])),
        "contribution": explore.contribution(AttributionSettings(**given)),
    }
    return made.__getitem__


TURNED = {  # a slider, how often to press the right arrow, and the field and value that makes
    "noising": ("pixel noise std", 3, "pixel_std", 0.06),
    "teacher": ("frame", 2, "frame", 2),
    "contribution": ("noisings", 1, "noisings", 2),
}


@pytest.mark.parametrize("name", STEMS)
def test_a_slider_turned_by_keyboard_changes_picture_and_readout(name, shown, expected):
    notebook, explorer = shown(name), expected(name)
    label, presses, field, value = TURNED[name]
    before, pictures = notebook.renders(), notebook.pictures()
    assert notebook.readout() == list(explorer.draw(explorer.state).readout)
    notebook.slider(label).focus()
    for _ in range(presses):
        notebook.page.keyboard.press("ArrowRight")
    notebook.settle(before)
    state = replace(explorer.state, **{field: value})
    view = explorer.draw(state)
    assert float(notebook.entry(label).input_value()) == value
    assert notebook.readout() == list(view.readout)
    assert notebook.pictures() != pictures
    assert notebook.page.locator(".labkit-canvas img").evaluate_all(
        "all => all.map(one => one.alt)"
    ) == [one.alt for one in view.panels]
    assert notebook.page.locator(".labkit-line code").all_inner_texts() == list(
        explorer.commands(state).values()
    )


@pytest.mark.parametrize("name", STEMS)
def test_a_burst_of_20_events_ends_on_the_last_value_with_at_most_3_renders(name, shown, expected):
    notebook = shown(name)
    before = notebook.renders()
    notebook.slider("seed").evaluate(
        "handle => "
        "{ for (let i = 0; i < 20; i++) handle.dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true})) }"
    )
    renders = notebook.settle(before)
    assert renders - before <= 3
    explorer = expected(name)
    _, _, field, value = TURNED[name]
    state = replace(explorer.state, **{field: value, "seed": explorer.state.seed + 20})
    assert int(notebook.entry("seed").input_value()) == state.seed
    assert notebook.readout() == list(explorer.draw(state).readout)


@pytest.mark.parametrize("name", STEMS)
def test_running_its_cell_again_leaves_one_set_of_callbacks(name, shown):
    notebook = shown(name)
    before = notebook.renders()
    for again in range(1, 3):
        notebook.run_cell("explore.show(")
        assert notebook.settle(before + again - 1) == before + again
    assert notebook.view.count() == 1
    notebook.slider("seed").focus()
    notebook.page.keyboard.press("ArrowRight")
    assert notebook.settle(before + 2) == before + 3


@pytest.mark.parametrize("name", STEMS)
def test_a_number_can_be_typed_and_draw_again_takes_the_next_seed(name, shown):
    notebook = shown(name)
    before = notebook.renders()
    notebook.entry("seed").press("Control+a")
    notebook.page.keyboard.type("41")
    notebook.page.keyboard.press("Tab")
    before = notebook.settle(before)
    notebook.page.locator('.labkit-explorer button:text-is("Draw again")').press("Enter")
    notebook.settle(before)
    assert notebook.entry("seed").input_value() == "42"
    assert notebook.slider("seed").get_attribute("aria-valuenow") == "42.0"


@pytest.mark.parametrize("name", STEMS)
def test_axe_finds_nothing_critical_and_the_console_nothing_new(name, shown, usual_errors):
    notebook = shown(name)
    notebook.page.evaluate(
        files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    )
    found = notebook.page.evaluate("axe.run('.labkit-explorer')")
    assert len(found["passes"]) > 5, "axe looked at nothing"
    critical = [
        (one["id"], [node["html"] for node in one["nodes"]])
        for one in found["violations"]
        if one["impact"] == "critical"
    ]
    assert critical == []
    assert set(notebook.errors) - usual_errors == set()


def test_a_label_is_edited_by_keyboard_and_the_effect_described(shown, expected):
    notebook, explorer = shown("teacher"), expected("teacher")
    choice = notebook.page.locator(
        '.labkit-explorer .widget-dropdown:has(> label:text-is("edit: its class")) select'
    )
    before = notebook.renders()
    choice.select_option("removed (void)")
    notebook.settle(before)
    assert "removed (void)" in notebook.readout()[1]
    assert "removed (void)" in notebook.page.locator(
        '.labkit-canvas img[alt^="Label after the edit"]'
    ).get_attribute("alt")
    assert explorer.state.edit != "removed (void)"


def test_a_notebook_without_runs_runs_too(browser, address, usual_errors):
    notebook = lab.Notebook(browser, address, "notebooks/03_results")
    assert notebook.run_all() == []
    assert notebook.view.count() == 0
    assert set(notebook.errors) - usual_errors == set()
    notebook.close()


def test_without_a_teacher_the_explorer_says_so_and_trains_one(browser, address):
    notebook = lab.Notebook(browser, address, "notebooks/offer")
    assert notebook.run_all() == []
    notebook.page.wait_for_selector("text=There is no complete assisted teacher of streets")
    notebook.page.locator('.labkit-explorer button:has-text("Train a small one (5 steps)")').press(
        "Enter"
    )
    notebook.page.wait_for_selector(
        '.labkit-explorer [role="progressbar"], .labkit-explorer .progress', state="attached"
    )
    notebook.settle(0)
    assert notebook.readout()[0].startswith(("Label share for car", "car: no pixel"))
    notebook.close()


def test_an_exported_notebook_shows_its_pictures_without_javascript(browser, tmp_path, runs):
    executed = tmp_path / "executed.ipynb"
    execute(project_root() / "notebooks" / "00_label_noising.ipynb", executed, {"runs": str(runs)})
    assert executed.stat().st_size < 5e6
    notebook = nbformat.read(executed, as_version=4)
    page_file = tmp_path / "exported.html"
    page_file.write_text(HTMLExporter().from_notebook_node(notebook)[0], encoding="utf-8")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.locator(".labkit-view img").first.scroll_into_view_if_needed()
    boxes = [image.bounding_box() for image in page.locator(".labkit-view img").all()]
    assert len(boxes) == 4
    assert all(box["width"] > 200 and box["height"] > 80 for box in boxes)
    context.close()
