import copy

import pytest
import torch
from torch import nn

from labkit.errors import SettingsError, TrainingError
from labkit.training.depthwise import use_float32_depthwise
from labkit.training.device import choose_device, choose_precision, explain_out_of_memory
from tests.training import raising

OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory"
    ),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError("Unable to allocate 8.00 EiB for an array"),
]


def explained(error, **options) -> str:
    with (
        pytest.raises(TrainingError) as caught,
        explain_out_of_memory(torch.device("cpu"), **options),
    ):
        torch.empty(1 << 60, dtype=torch.uint8) if error is None else raising(error)()
    return str(caught.value)


@pytest.mark.parametrize(
    "error", [*OUT_OF_MEMORY, None], ids=["device", "cpu", "driver", "cublas", "numpy", "real"]
)
def test_out_of_memory_names_the_settings_and_what_to_do(error):
    text = explained(error, at="batch_size=6", advice=["lower it", "use bf16"])
    assert text == "out of memory on cpu at batch_size=6. Lower it, then use bf16."


def test_other_errors_pass_unchanged():
    options = {"at": "batch_size=2", "advice": ["lower it"]}
    with (
        pytest.raises(RuntimeError, match="mat1 and mat2"),
        explain_out_of_memory(torch.device("cpu"), **options),
    ):
        raise RuntimeError("mat1 and mat2")


def test_cuda_is_refused_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match="device=auto or cpu") as caught:
        choose_device("cuda")
    assert caught.value.names == {"device"}
    assert choose_device("auto").type == "cpu"


@pytest.mark.parametrize(
    ("name", "capabilities", "expected"),
    [
        ("AMD EPYC 9554", {"avx512_bf16": True}, "bf16"),
        ("Intel(R) Xeon(R) Platinum 8480+", {"avx512_bf16": True, "amx_bf16": True}, "bf16"),
        ("Intel(R) Xeon(R) Processor", {"avx512_bf16": True, "amx_bf16": False}, "fp32"),
        ("AMD EPYC 7763", {}, "fp32"),
    ],
)
def test_precision_is_resolved_by_what_the_device_is_faster_in(
    monkeypatch, name, capabilities, expected
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr("labkit.training.device.cpu_name", lambda: name)
    assert choose_precision("auto", torch.device("cpu")) == expected
    assert choose_precision("bf16", torch.device("cpu")) == "bf16"


def test_slow_depthwise_gradients_are_float32_under_autocast_alone():
    slow = nn.Conv2d(8, 8, 5, 2, padding=2, groups=8)
    network = nn.Sequential(slow, nn.Conv2d(8, 8, 3, padding=1, groups=8))
    plain = copy.deepcopy(network)
    use_float32_depthwise(network)
    assert [type(module) is nn.Conv2d for module in network] == [False, True]
    assert network.state_dict().keys() == plain.state_dict().keys()
    images = torch.randn(2, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network(images), plain(images))
    with torch.autocast("cpu", torch.bfloat16):
        narrow = images.bfloat16()
        with torch.no_grad():
            assert torch.equal(network(narrow), plain(narrow))
        outputs = network[0](narrow)
    exact = plain[0](narrow.float())
    assert torch.equal(outputs, exact.bfloat16())
    gradients = [
        torch.autograd.grad(values.float().sum(), module.weight)[0]
        for values, module in ((outputs, network[0]), (exact, plain[0]))
    ]
    assert torch.equal(*gradients)
