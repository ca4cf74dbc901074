"""What a cluster is asked for a job, in the words of the executor that asks."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from labkit.config import SettingsError


class _Resources(dict):
    """Read by name both ways, as the executor does."""

    __getattr__ = dict.get


def submission(rule: str, profile: Path) -> str:
    """The sbatch line of a rule's jobs by a profile, as the SLURM executor composes it.

    Raises:
        SettingsError: the executor is not installed.
    """
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        raise SettingsError("--profile slurm: the SLURM executor is not installed; expected the extra batch: pip install 'labkit[batch]'.")
    from snakemake_executor_plugin_slurm.submit_string import get_submit_command
    from snakemake_executor_plugin_slurm.utils import set_gres_string

    wanted = yaml.safe_load((profile / "config.yaml").read_text(encoding="utf-8"))
    resources = _Resources(wanted.get("default-resources", {}) | wanted.get("set-resources", {}).get(rule, {}))
    job: Any = SimpleNamespace(resources=resources, threads=1, name=rule)
    asked = {
        "run_uuid": "labkit", "slurm_logfile": f"slurm_logs/{rule}.log", "comment_str": f"rule_{rule}", "workdir": "",
        "account": f"-A {resources.slurm_account}" if resources.slurm_account else "",
        "partition": f"-p {resources.slurm_partition}" if resources.slurm_partition else "",
    }  # fmt: skip
    settings = SimpleNamespace(requeue=wanted.get("slurm-requeue"), no_requeue=False, qos=None, reservation=None)
    return get_submit_command(job, asked, settings=settings) + set_gres_string(job)
