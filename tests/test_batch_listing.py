"""Lines of `labkit networks`."""

from labkit import networks
from labkit.batch.listing import network_lines
from labkit.networks.table import auxiliary_names, multiply_adds, parameters


def test_networks_are_listed_with_stride_sizes_cost_and_auxiliary_heads(monkeypatch):
    monkeypatch.setattr("labkit.networks.table.available", lambda: ["stdc"])
    title, line, *notes = network_lines()
    assert title.split()[:6] == ["network", "encoder", "stride", "parameters", "inference", "GMAC"]
    network = networks.build_network("stdc", "stdc1", num_classes=19, auxiliary_weight=0.4)
    whole, inference = parameters(network), parameters(network, inference=True)
    cost = f"{multiply_adds(network, (512, 1024)) / 1e9:.1f}"
    expected = ["stdc", "stdc1", "8", f"{whole:,}", f"{inference:,}", cost]
    assert line.split()[:6] == expected
    assert line.endswith(", ".join(auxiliary_names(network)))
    assert "stdc1, stdc2 (stdc alone)" in notes[-1]
