"""What this machine offers to tpobench, and what would not work on it, each with its remedy.

Every check stands alone: one that breaks becomes a problem of its own, and the others still speak.  Whatever may kill
or hang a process (torch, CUDA, a worker) is tried in a child process.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpobench.children import child_command, last_line, output_of
from tpobench.data import files as data

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PYPROJECT = Path(__file__).parent.parent.parent / "pyproject.toml"  # of a checkout; an installation has metadata
FATAL, PROBLEM, OPTIONAL = "fatal", "problem", "optional"  # nothing works | something does not | it may be wanted
CHILD_S = 300.0  # importing torch from a cold network disk
GIB = 2**30
MIN_FREE_BYTES = GIB  # of disk
JOB_BYTES = GIB // 2  # of memory, one child process with torch
NETWORK_DISKS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "lustre", "beegfs", "afs"})
TORCH_CHECK = """
import json, torch
x = torch.ones(8, 8, requires_grad=True)
(x @ x).sum().backward()
print(json.dumps({"version": torch.__version__, "threads": torch.get_num_threads(),
                  "interop": torch.get_num_interop_threads(), "works": bool((x.grad == 16).all())}))
"""
KERNEL_CHECK = """
from tpobench.policies.native.build import NoKernel
from tpobench.policies.native.machine import native_kernel
def main():
    try:
        print("compiled by " + native_kernel().origin)
    except NoKernel as error:
        print(error)
main()
"""
EXTRAS = {  # package -> what needs it
    "distributed": "`run --executor dask`",
    "pyarrow": "`export --to parquet`",
    "tensorboard": "`export --to tensorboard`",
    "trackio": "`export --to trackio`",
    "wandb": "`export --to wandb`",
}


@dataclass(frozen=True)
class Problem:
    """Something that does not work here."""

    severity: str  # fatal | problem | optional
    text: str
    remedy: str


@dataclass(frozen=True)
class Section:
    """One line of the page: what there is, the values behind it, and the problems found."""

    topic: str
    text: str
    values: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def examine(out: Path = Path("results"), data_dir: Path | None = None) -> list[Section]:
    """Look at everything; takes as long as importing torch a few times.  Leaves a compiled kernel at most."""
    torch = guarded("torch", torch_section)
    works = not any(p.severity == FATAL for p in torch.problems)
    sections = [
        guarded("tpobench", tpobench_section),
        torch,
        *([guarded("worker", worker_section), guarded("gpu", gpu_section), guarded("kernel", kernel_section)] * works),
        guarded("packages", packages_section),
        guarded("extras", extras_section),
        guarded("cores", cores_section),
        guarded("memory", memory_section),
        guarded("disk", lambda: disk_section(out)),
        guarded("terminal", terminal_section),
    ]
    return sections + [guarded(name, partial(data_section, name, data_dir)) for name in data.datasets()]


def guarded(topic: str, check: Callable[[], Section]) -> Section:
    """The section, or the problem that its check broke."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - the doctor outlives every patient
        text = f"cannot be examined: {type(error).__name__}: {error}"
        return Section(topic, "unknown", problems=(Problem(PROBLEM, text, "install tpobench anew"),))


def tpobench_section() -> Section:
    """Versions."""
    from tpobench import __version__  # noqa: PLC0415 - the package imports nothing at its own top either

    python = platform.python_version()
    values = {"tpobench": __version__, "python": python, "executable": sys.executable, "platform": platform.platform()}
    return Section("tpobench", f"{__version__}, Python {python} ({sys.executable}), {platform.platform()}", values)


def torch_section() -> Section:
    """Import torch in a child, and let it differentiate the sum of a matrix product: 16 everywhere for ones(8, 8)."""
    remedy = "install it anew: pip install --force-reinstall torch"
    try:
        done = output_of([sys.executable, "-c", TORCH_CHECK], CHILD_S)
    except subprocess.TimeoutExpired:
        return _no_torch(f"does not answer within {CHILD_S:.0f} s", remedy)
    if done.returncode != 0:
        last = last_line(done.stderr, f"it ended with code {done.returncode} and no message")
        remedy = "pip install torch" if "No module named 'torch'" in last else remedy
        return _no_torch(f"does not work: {last}", remedy)
    values = json.loads(done.stdout.splitlines()[-1])
    if not values["works"]:
        return _no_torch(f"{values['version']} computes a wrong gradient", remedy)
    pinned = {k: v for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if (v := os.environ.get(k))}
    variables = "".join(f", {k}={v}" for k, v in pinned.items())
    text = (
        f"{values['version']}, {values['threads']} threads and {values['interop']} interop{variables}; runs pin theirs"
    )
    return Section("torch", text, {**values, "environment": pinned})


def _no_torch(text: str, remedy: str) -> Section:
    return Section("torch", "does not work", {"works": False}, (Problem(FATAL, f"torch {text}", remedy),))


def worker_section() -> Section:
    """Start one of the child processes that train."""
    from tpobench.errors import WorkersBroken  # noqa: PLC0415
    from tpobench.execution.slots import SlotPool  # noqa: PLC0415

    try:
        with SlotPool(size=1) as pool:
            pool.start()
    except WorkersBroken as error:
        remedy = "`run --executor inline` trains without child processes"
        return Section("worker", "does not start", {"works": False}, (Problem(PROBLEM, str(error), remedy),))
    return Section("worker", "a child process starts", {"works": True})


def gpu_section() -> Section:
    """CUDA devices."""
    from tpobench.planning.devices import probe  # noqa: PLC0415

    gpus = probe()
    if not gpus.devices:
        problem = Problem(OPTIONAL, f"no GPU: {gpus.reason}; --device cuda is refused", "--device cpu is the default")
        return Section("gpu", "none", {"devices": [], "reason": gpus.reason}, (problem,))
    text = ", ".join(f"cuda:{d['index']} {d['name']} ({d['memory_bytes'] / GIB:.0f} GiB)" for d in gpus.devices)
    return Section("gpu", text, {"devices": list(gpus.devices)})


def kernel_section() -> Section:
    """Whether `--kernel native` can be had: compiled, and held to the plain path, in a child."""
    done = output_of(child_command("import json, sys; sys.path[:] = json.loads(sys.argv[1])" + KERNEL_CHECK), CHILD_S)
    verdict = last_line(done.stdout, f"the check ended with code {done.returncode} and no message")
    works = verdict.startswith("compiled by ")
    remedy = "install a C compiler, or leave --kernel at plain"
    problems = () if works else (Problem(OPTIONAL, f"no native kernel: {verdict}", remedy),)
    return Section("kernel", verdict if works else "plain only", {"native": works, "origin": verdict * works}, problems)


def cores_section() -> Section:
    """CPUs that this process may use."""
    from tpobench.execution.machine import cores  # noqa: PLC0415

    usable, present = cores(), os.cpu_count() or 1
    limit = f" of {present}; the rest is withheld by an affinity mask or a container" if usable < present else ""
    return Section("cores", f"{usable}{limit}", {"usable": usable, "present": present})


def memory_section() -> Section:
    """Memory that this process may use, and whether a child process fits for every core."""
    import psutil  # noqa: PLC0415

    from tpobench.execution.machine import cores, memory_bytes  # noqa: PLC0415

    usable, machine = memory_bytes(), psutil.virtual_memory()
    free = min(usable, int(machine.available))
    jobs = max(1, free // JOB_BYTES)
    text = f"{usable / GIB:.1f} GiB, {free / GIB:.1f} GiB of it free"
    values = {"usable_bytes": usable, "free_bytes": free, "present_bytes": int(machine.total)}
    if jobs >= cores():
        return Section("memory", text, values)
    what = f"{free / GIB:.1f} GiB of free memory are less than {JOB_BYTES / GIB:.1f} GiB for each of {cores()} cores"
    return Section("memory", text, values, (Problem(PROBLEM, what, f"run with --jobs {jobs}"),))


def disk_section(out: Path) -> Section:
    """Free space where results go, whether they can be written there, and whether locks can be trusted."""
    place = next(p for p in (out.absolute(), *out.absolute().parents) if p.is_dir())
    free, writable, kind = shutil.disk_usage(place).free, _writable(place), filesystem(place)
    problems = []
    if not writable:
        problems.append(Problem(PROBLEM, f"{place} cannot be written", "name another folder with --out"))
    if free < MIN_FREE_BYTES:
        what = f"{free / 2**20:.0f} MiB are free in {place}"
        problems.append(Problem(PROBLEM, what, "make room, or name another disk with --out"))
    if kind in NETWORK_DISKS:
        what = f"{place} is on a network disk ({kind}), whose locks may fail: two commands at once may repeat runs"
        problems.append(Problem(PROBLEM, what, "give each machine its --shard and folder, then `tpobench merge`"))
    text = f"{free / GIB:.1f} GiB free in {place}" + (f" ({kind})" if kind else "")
    values = {"path": str(place), "free_bytes": free, "writable": writable, "filesystem": kind}
    return Section("disk", text, values, tuple(problems))


def _writable(place: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=place):
            return True
    except OSError:
        return False


def filesystem(place: Path) -> str:
    """The type of the file system that holds a folder, empty where nobody knows."""
    import psutil  # noqa: PLC0415

    mounts = {Path(p.mountpoint): p.fstype for p in psutil.disk_partitions(all=True)}
    return next((mounts[p] for p in (place.resolve(), *place.resolve().parents) if p in mounts), "")


def requirements(pyproject: Path = PYPROJECT) -> list[Requirement]:
    """What tpobench requires, extras included; empty where neither pyproject.toml nor metadata can be read."""
    from packaging.requirements import Requirement  # noqa: PLC0415 - the other sections speak without it

    if pyproject.is_file():
        project = tomllib.loads(pyproject.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == "tpobench":
            extras = project.get("optional-dependencies", {})
            optional = [f'{text}; extra == "{extra}"' for extra, texts in extras.items() for text in texts]
            return [Requirement(text) for text in (*project.get("dependencies", []), *optional)]
    try:
        return [Requirement(text) for text in metadata.requires("tpobench") or []]
    except metadata.PackageNotFoundError:
        return []


def installed(name: str) -> str | None:
    """The version of an installed package, None where it is missing."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def serves(requirement: Requirement, version: str) -> bool:
    """Whether a version satisfies a requirement; a pre-release or a local build counts as its release."""
    from packaging.version import Version  # noqa: PLC0415 - as above

    return requirement.specifier.contains(Version(version).base_version)


def _is_extra(requirement: Requirement) -> bool:
    return requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})


def packages_section() -> Section:
    """Required packages that are missing or of a version that does not serve."""
    required = [r for r in requirements() if not _is_extra(r)]
    versions = {r.name: installed(r.name) for r in required}
    problems = (_package_problem(r, versions[r.name], FATAL) for r in required)
    return _packages("packages", versions, filter(None, problems))


def extras_section() -> Section:
    """Packages that only some options need."""
    from packaging.requirements import Requirement  # noqa: PLC0415 - as above

    extras = {r.name: r for r in requirements() if _is_extra(r)}
    versions = {name: installed(name) for name in EXTRAS}
    problems = (
        _package_problem(extras.get(name, Requirement(name)), versions[name], OPTIONAL, f", which {need} needs")
        for name, need in EXTRAS.items()
    )
    return _packages("extras", versions, filter(None, problems))


def _packages(topic: str, versions: Mapping[str, str | None], problems: Iterable[Problem]) -> Section:
    text = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
    return Section(topic, text, {"versions": versions}, tuple(problems))


def _package_problem(requirement: Requirement, version: str | None, absent: str, reason: str = "") -> Problem | None:
    """What is wrong with the installed version; `absent`: how severe it is that there is none."""
    name, remedy = requirement.name, f'pip install "{requirement.name}{requirement.specifier}"'
    if version is None:
        return Problem(absent, f"{name} is missing{reason}", remedy)
    if not serves(requirement, version):
        return Problem(PROBLEM, f"{name} {version} does not satisfy {requirement.specifier}{reason}", remedy)
    return None


def data_section(name: str, data_dir: Path | None) -> Section:
    """Which files of a data set are here, and whether they are the published ones."""
    files = [data.find(file.name, data_dir) for file in data.files_of(name)]
    copies = [f for f in files if isinstance(f, data.Found)]
    missing = [f for f in files if isinstance(f, data.Missing)]
    values = {f.data.file: _status(f) for f in files}
    problems = [
        Problem(PROBLEM, f"{f.path} is not the published file: {f.problem}", data.replacement(f, data_dir))
        for f in copies
        if not f.verified
    ]
    if missing:
        names = ", ".join(f.data.file for f in missing)
        what = f"{name} is not here: {names}; what reads it cannot run"
        problems.append(Problem(OPTIONAL, what, ", or ".join(missing[0].remedies)))
    counts = {"verified": sum(f.verified for f in copies), "unverified": sum(not f.verified for f in copies)}
    shown = [f"{n} {k}" for k, n in {**counts, "missing": len(missing)}.items() if n]
    folders = ", ".join(dict.fromkeys(str(f.path.parent) for f in copies))
    return Section(name, ", ".join(shown) + (f" in {folders}" if folders else ""), values, tuple(problems))


def _status(file: data.Found | data.Missing) -> dict[str, Any]:
    if isinstance(file, data.Missing):
        return {"status": "missing", "searched": [str(p) for p in file.searched]}
    status = "verified" if file.verified else "unverified"
    return {"status": status, "path": str(file.path), "sha256": file.sha256, "expected_sha256": file.data.sha256}


def terminal_section() -> Section:
    """Whether the terminal can show Greek letters and dashes."""
    encoding = (sys.stdout.encoding or "ascii").lower()
    kind = "a terminal" if sys.stdout.isatty() else "a pipe or a file"
    values = {"encoding": encoding, "tty": sys.stdout.isatty()}
    try:
        "η±–".encode(encoding)
    except (LookupError, UnicodeEncodeError):
        what = f"the output's encoding is {encoding}; other letters are shown as ?"
        problem = Problem(PROBLEM, what, "set PYTHONUTF8=1 or PYTHONIOENCODING=utf-8")
        return Section("terminal", f"{kind}, {encoding}", values, (problem,))
    return Section("terminal", f"{kind}, {encoding}", values)
