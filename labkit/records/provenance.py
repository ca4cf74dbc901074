"""Where a result comes from: source revision, versions, device, memory. No path, no host name."""

import hashlib
import os
import platform
import resource
import subprocess
import sys
import time
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import labkit

PACKAGE = Path(labkit.__file__).resolve().parent


def provenance(device: str = "") -> dict[str, Any]:
    """Return what a record says about the program and machine that made it.

    Args:
        device: the kind that computed, cpu or cuda; "": cuda if there is one.
    """
    return {
        **source_revision(),
        "labkit": labkit.__version__,
        "python": platform.python_version(),
        "torch": _version("torch"),
        "numpy": _version("numpy"),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_name(),
        **_device(device),
        "peak_memory_bytes": peak_memory_bytes(),
    }


@lru_cache(maxsize=1)
def source_revision() -> dict[str, Any]:
    """Return the commit of the package's repository and whether its files differ from it.

    Without a repository (an installed package) the revision is "package-" and a hash of its files.
    """
    inside = _git("rev-parse", "--show-toplevel", "--verify", "HEAD").splitlines()
    tracked = _git("ls-files", "--error-unmatch", "__init__.py")
    if len(inside) == 2 and tracked:
        changed = _git("status", "--porcelain", "--untracked-files=all", "--", ".")
        return {"revision": inside[1], "dirty": bool(changed), "package": package_hash()}
    return {"revision": f"package-{package_hash()}", "dirty": False, "package": package_hash()}


@lru_cache(maxsize=1)
def package_hash() -> str:
    """Return SHA-256, 16 hex digits, of the package's Python files and their names."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(PACKAGE).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=1)
def cpu_name() -> str:
    """Return the processor's model, as the system names it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.processor()


def peak_memory_bytes() -> int:
    """Return the largest resident memory this process has had, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def now() -> str:
    """Return UTC to the second, ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _device(kind: str) -> dict[str, Any]:
    import torch

    cuda = kind.startswith("cuda") or (not kind and torch.cuda.is_available())
    facts = {"device": "cuda" if cuda else "cpu", "threads": torch.get_num_threads()}
    if cuda and torch.cuda.is_available():
        facts["device_name"] = torch.cuda.get_device_name()
        facts["cuda"] = torch.version.cuda
        facts["peak_device_memory_bytes"] = torch.cuda.max_memory_allocated()
    else:
        facts["device_name"] = cpu_name()
    return facts


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _git(*arguments: str) -> str:
    """Return what git prints in the package's folder, "" where it fails or is missing."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=PACKAGE,
            env=environment | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""
