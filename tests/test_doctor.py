"""The doctor tells what works and what does not, on the sickest machine too, and every problem has its remedy."""

import io
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from record_helpers import command

from tpobench.errors import WorkersBroken
from tpobench.execution import doctor
from tpobench.planning.devices import Devices
from tpobench.policies.native.machine import native_kernel

GIB = 2**30


def problems(section):
    """(severity, text, remedy) of each problem."""
    return [(p.severity, p.text, p.remedy) for p in section.problems]


@pytest.fixture
def broken_torch(monkeypatch, tmp_path):
    """Puts a module named torch before the real one for every child process."""

    def put(source):
        (tmp_path / "sick").mkdir()
        (tmp_path / "sick" / "torch.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "sick"), *sys.path]))

    return put


@pytest.mark.parametrize(
    ("source", "text", "remedy"),
    [
        ("raise ModuleNotFoundError(\"No module named 'torch'\")", "No module named 'torch'", "pip install torch"),
        ("raise OSError('libtorch.so: wrong ELF class')", "wrong ELF class", "--force-reinstall torch"),
        ("import os; os._exit(3)", "it ended with code 3 and no message", "--force-reinstall torch"),
        ("import os; os.kill(os.getpid(), 11)", "it ended with code -11", "--force-reinstall torch"),
    ],
)
def test_a_torch_that_is_missing_or_dies_is_fatal_and_told(broken_torch, source, text, remedy):
    """Whatever it does to its process."""
    broken_torch(source)
    ((severity, found, cure),) = problems(doctor.torch_section())
    assert severity == "fatal"
    assert text in found
    assert remedy in cure


WRONG = """
class T:
    grad = property(lambda s: s)
    def __matmul__(s, o): return s
    def sum(s): return s
    def backward(s): pass
    def __eq__(s, o): return s
    def all(s): return False
ones = lambda *a, **k: T()
get_num_threads = get_num_interop_threads = lambda: 1
__version__ = "9.9"
"""


def test_a_torch_that_computes_nonsense_is_fatal(broken_torch):
    """It imports and answers, and its gradient is wrong."""
    broken_torch(WRONG)
    assert problems(doctor.torch_section())[0][:2] == ("fatal", "torch 9.9 computes a wrong gradient")


def test_a_torch_that_hangs_is_given_up(broken_torch, monkeypatch):
    """After a while."""
    monkeypatch.setattr(doctor, "CHILD_S", 0.5)
    broken_torch("import time; time.sleep(60)")
    assert "does not answer" in problems(doctor.torch_section())[0][1]


@pytest.mark.slow
def test_the_torch_here_works():
    """Version and threads are told, and the worker starts."""
    section = doctor.torch_section()
    assert section.values["works"] is True
    assert section.values["version"] in section.text
    assert problems(section) == []
    assert problems(doctor.worker_section()) == []


@pytest.mark.slow
def test_whether_the_kernel_compiles_here(monkeypatch, tmp_path):
    """Its compiler is named; without one, `--kernel` is told to stay plain."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    section = doctor.kernel_section()
    assert section.text == f"compiled by {native_kernel().origin}"
    assert problems(section) == []
    monkeypatch.setenv("PATH", str(tmp_path))
    ((severity, text, remedy),) = problems(doctor.kernel_section())
    assert (severity, text) == ("optional", "no native kernel: no C compiler; install one of cc, gcc, clang")
    assert "--kernel" in remedy


def test_without_torch_the_rest_of_the_page_is_there(broken_torch, monkeypatch, capsys, tmp_path):
    """Exit code 2, one fatal line, no child is started, nothing is left behind."""
    broken_torch("raise ImportError('no libgomp')")
    out = tmp_path / "results" / "deep"
    code, text, _ = command(monkeypatch, capsys, "doctor", "--out", out, "--data-dir", tmp_path)
    verdict, *lines = filter(None, text.splitlines())
    assert (code, verdict.split(";")[0]) == (2, "Runs cannot be trained here")
    topics = [line.split()[0] for line in lines]
    for topic in ("tpobench", "torch", "packages", "extras", "cores", "memory", "disk", "terminal", "mnist", "gsm8k"):
        assert topic in topics
    assert "worker" not in topics
    assert [line for line in lines if line.startswith("fatal: ")] == [
        "fatal: torch does not work: ImportError: no libgomp; install it anew: pip install --force-reinstall torch"
    ]
    assert not (tmp_path / "results").exists()


def test_the_page_for_scripts_is_one_object(monkeypatch, capsys, tmp_path):
    """Facts by topic, problems with severity and remedy; 0 while tpobench can run."""
    monkeypatch.setattr(doctor, "torch_section", lambda: doctor.Section("torch", "fine", {"version": "2.13.0"}))
    monkeypatch.setattr(doctor, "worker_section", lambda: doctor.Section("worker", "fine"))
    monkeypatch.setattr("tpobench.planning.devices.probe", lambda: Devices((), "torch is built without CUDA"))
    code, text, _ = command(monkeypatch, capsys, "doctor", "--json", "--out", tmp_path, "--data-dir", tmp_path)
    page = json.loads(text)
    assert code == 0
    assert page["facts"]["torch"] == {"version": "2.13.0"}
    assert page["facts"]["disk"]["path"] == str(tmp_path)
    (gpu,) = [p for p in page["problems"] if p["topic"] == "gpu"]
    assert gpu["severity"] == "optional"
    assert "built without CUDA" in gpu["text"]
    assert page["facts"]["mnist"]["train-labels-idx1-ubyte"]["status"] == "missing"


def test_a_check_that_breaks_is_a_problem_and_no_end():
    """psutil may be missing, /proc may be unreadable."""

    def check():
        raise ModuleNotFoundError("psutil")

    section = doctor.guarded("memory", check)
    assert (section.topic, section.text) == ("memory", "unknown")
    assert problems(section)[0][:2] == ("problem", "cannot be examined: ModuleNotFoundError: psutil")


def test_a_worker_that_does_not_start_names_the_way_around(monkeypatch):
    """The runs can be trained in the process itself."""

    def start(_):
        raise WorkersBroken("a worker process cannot start: no file descriptors")

    monkeypatch.setattr("tpobench.execution.slots.SlotPool.start", start)
    ((severity, text, remedy),) = problems(doctor.worker_section())
    assert (severity, text) == ("problem", "a worker process cannot start: no file descriptors")
    assert "--executor inline" in remedy


def test_gpus_are_named_with_their_memory(monkeypatch):
    """As --device names them."""
    found = Devices(
        ({"index": 0, "name": "H1", "memory_bytes": 80 * GIB}, {"index": 1, "name": "T", "memory_bytes": GIB})
    )
    monkeypatch.setattr("tpobench.planning.devices.probe", lambda: found)
    assert doctor.gpu_section().text == "cuda:0 H1 (80 GiB), cuda:1 T (1 GiB)"
    assert problems(doctor.gpu_section()) == []


def test_cores_are_those_that_may_be_used(monkeypatch):
    """A container of 2 on a machine of 64."""
    monkeypatch.setattr("tpobench.execution.machine.cores", lambda: 2)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    section = doctor.cores_section()
    assert section.values == {"usable": 2, "present": 64}
    assert section.text.startswith("2 of 64;")


def test_too_little_memory_for_every_core_names_the_number_of_jobs(monkeypatch):
    """Half a GiB each: 1.6 GiB carry 3; the container's limit counts, not the machine's memory."""
    machine = SimpleNamespace(total=64 * GIB, available=32 * GIB)
    monkeypatch.setattr("psutil.virtual_memory", lambda: machine)
    monkeypatch.setattr("tpobench.execution.machine.cores", lambda: 8)
    monkeypatch.setattr("tpobench.execution.machine.memory_bytes", lambda: int(1.6 * GIB))
    ((_, text, remedy),) = problems(doctor.memory_section())
    assert text == "1.6 GiB of free memory are less than 0.5 GiB for each of 8 cores"
    assert remedy == "run with --jobs 3"
    monkeypatch.setattr("tpobench.execution.machine.memory_bytes", lambda: 16 * GIB)
    assert problems(doctor.memory_section()) == []


def test_the_disk_is_that_of_the_folder_to_come(monkeypatch, tmp_path):
    """Little room, no permission and a network disk are three problems; nothing is made."""
    section = doctor.disk_section(tmp_path / "a" / "b")
    assert section.values["path"] == str(tmp_path)
    assert section.values["writable"] is True
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=50 * 2**20))
    mount = SimpleNamespace(mountpoint=str(tmp_path), fstype="nfs4")
    monkeypatch.setattr("psutil.disk_partitions", lambda **_: [mount])

    def refuse(dir):  # noqa: A002
        raise PermissionError(13, "Permission denied", dir)

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    section = doctor.disk_section(tmp_path / "a" / "b")
    texts = [text for _, text, _ in problems(section)]
    assert texts[0] == f"{tmp_path} cannot be written"
    assert texts[1] == f"50 MiB are free in {tmp_path}"
    assert "network disk (nfs4)" in texts[2]
    assert list(tmp_path.iterdir()) == []


def test_the_file_system_is_that_of_the_deepest_mount(monkeypatch, tmp_path):
    """A mount above does not hide one below, and a sibling with a common prefix is no parent."""
    mounts = [("/", "ext4"), (str(tmp_path), "nfs"), (str(tmp_path / "a"), "xfs"), (str(tmp_path / "ab"), "9p")]
    found = [SimpleNamespace(mountpoint=m, fstype=t) for m, t in mounts]
    monkeypatch.setattr("psutil.disk_partitions", lambda **_: found)
    assert doctor.filesystem(tmp_path / "a" / "x") == "xfs"
    assert doctor.filesystem(tmp_path / "abc") == "nfs"


def test_packages_below_their_minimum_are_named_with_the_command(monkeypatch):
    """Missing is fatal, old is a problem."""
    here = {"numpy": "1.26.4", "scipy": None, "rich": "15.0.0"}
    wanted = [Requirement(text) for text in ("numpy>=2.0", "scipy>=1.15", "rich>=13.9")]
    monkeypatch.setattr(doctor, "requirements", lambda: wanted)
    monkeypatch.setattr(doctor, "installed", here.get)
    section = doctor.packages_section()
    assert section.text == "numpy 1.26.4, scipy missing, rich 15.0.0"
    assert problems(section) == [
        ("problem", "numpy 1.26.4 does not satisfy >=2.0", 'pip install "numpy>=2.0"'),
        ("fatal", "scipy is missing", 'pip install "scipy>=1.15"'),
    ]


def test_a_missing_extra_is_no_fault(monkeypatch):
    """It says which option wants it; one that is too old is a problem."""
    monkeypatch.setattr(doctor, "requirements", lambda: [Requirement('distributed>=2024.8; extra == "dask"')])
    monkeypatch.setattr(doctor, "installed", lambda _: None)
    monkeypatch.setattr(doctor, "EXTRAS", {"distributed": doctor.EXTRAS["distributed"]})
    ((severity, text, remedy),) = problems(doctor.extras_section())
    assert (severity, remedy) == ("optional", 'pip install "distributed>=2024.8"')
    assert text == "distributed is missing, which `run --executor dask` needs"
    monkeypatch.setattr(doctor, "installed", lambda _: "2023.1.0")
    assert problems(doctor.extras_section())[0][0] == "problem"


@pytest.mark.parametrize(
    ("version", "minimum", "serves"),
    [
        ("2.13.0+cpu", "2.4", True),
        ("2.3.1", "2.4", False),
        ("2.4", "2.4.0", True),
        ("2.4.0a0+git", "2.4", True),
        ("1.9", "1.10", False),
        ("10", "9.9", True),
    ],
)
def test_a_pre_release_or_a_local_build_serves_as_its_release_does(version, minimum, serves):
    """Machines with builds of their own, as 2.4.0a0+git, have what 2.4 has."""
    assert doctor.serves(Requirement(f"torch>={minimum}"), version) is serves


def test_requirements_are_read_from_the_project_itself():
    """The list that pip uses is the list that is checked, with its extras told apart."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    texts = [*project["dependencies"], *(f'{t}; extra == "{extra}"' for extra, some in extras.items() for t in some)]
    assert 'distributed>=2025.1; extra == "dask"' in texts
    assert doctor.requirements() == [Requirement(text) for text in texts]
    assert set(doctor.packages_section().values["versions"]) == {Requirement(t).name for t in project["dependencies"]}


def test_requirements_of_an_installed_package_come_from_its_metadata(monkeypatch, tmp_path):
    """Another project's pyproject.toml beside it is not ours; without either the list is empty."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\ndependencies = ["evil>=9"]\n')
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ["numpy>=2.0", 'dask>=1; extra == "dask"'])
    required = doctor.requirements(tmp_path / "pyproject.toml")
    assert required == [Requirement("numpy>=2.0"), Requirement('dask>=1; extra == "dask"')]


def test_an_altered_data_file_is_a_problem_and_a_missing_one_is_told(tmp_path):
    """Both with what to do."""
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").write_bytes(b"x")
    section = doctor.data_section("mnist", tmp_path)
    (_, altered, replace), (severity, missing, remedy) = problems(section)
    assert replace == f"`tpobench data fetch mnist --data-dir {tmp_path} --force` replaces it"
    assert "is not the published file: 1 bytes" in altered
    assert severity == "optional"
    assert "train-images-idx3-ubyte" in missing
    assert "data fetch mnist" in remedy
    assert "--data-dir" in remedy
    assert section.text == f"1 unverified, 3 missing in {tmp_path / 'mnist'}"


def test_a_terminal_without_greek_is_a_problem(monkeypatch):
    """With the variable that helps."""
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    ((_, text, remedy),) = problems(doctor.terminal_section())
    assert "encoding is ascii" in text
    assert "PYTHONUTF8=1" in remedy
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert problems(doctor.terminal_section()) == []


def test_the_doctor_needs_nothing_heavy():
    """It must speak where torch, numpy or pandas cannot be imported."""
    code = "import sys, tpobench.execution.doctor; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert set(done.stdout.split()).isdisjoint({"torch", "numpy", "pandas", "scipy", "psutil", "matplotlib"})
