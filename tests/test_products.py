import json

import matplotlib.pyplot as plt

from labkit import products
from labkit.files import file_hash
from tests.test_records import finished, planned


def test_a_figure_comes_with_its_recipe_and_no_folder_of_this_machine(tmp_path):
    run = finished(planned(tmp_path / "runs"))
    figure, place = plt.subplots()
    place.plot([1, 2])
    parameters = {"seed": 3, "runs": str(tmp_path), "data_root": str(tmp_path)}
    path = products.save_figure(figure, tmp_path / "f" / "curve.png", caption="c", alt="a", runs=[run], parameters=parameters)
    plt.close(figure)
    manifest = json.loads((tmp_path / "f" / "MANIFEST.json").read_text())
    assert manifest["curve.png"]["sha256"] == file_hash(path)
    assert manifest["curve.png"]["runs"] == [run.run_id]
    assert manifest["curve.png"]["parameters"] == {"seed": 3}
    assert "curve.pdf" in manifest
    assert str(tmp_path) not in json.dumps(manifest)


def test_records_hold_manifest_and_log(tmp_path):
    run = finished(planned(tmp_path / "runs"))
    products.write_records([run], tmp_path / "f")
    record = json.loads((tmp_path / "f" / "records" / f"{run.run_id}.json").read_text())
    assert record["state"] == "complete"
    assert record["log"] == [{"step": 1}]
