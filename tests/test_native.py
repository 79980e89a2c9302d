"""The kernel in C computes what the plain path computes, and gives way to it where it cannot."""

import platform
import shutil
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from tpobench.policies.native import build
from tpobench.policies.native.build import FLAGS, NoKernel, load
from tpobench.policies.native.forest import Sequences, grow, pack
from tpobench.policies.native.kernel import Kernel, defines
from tpobench.policies.native.machine import native_kernel, require_same
from tpobench.policies.native.optimizers import NativeAdam, NativeMuon
from tpobench.policies.native.transformer import NativeTransformer
from tpobench.policies.noise import Noise
from tpobench.policies.optimizers import Adam, Muon
from tpobench.policies.transformer import MODEL, TransformerPolicy, muon_blocks

SHAPES = [  # S, V, H, K, B: one tile and several, one token and many, stacked seeds
    (1, 2, 10, 8, 40),
    (2, 4, 6, 4, 20),
    (1, 16, 10, 1, 60),
    (3, 2, 5, 8, 30),
    (1, 16, 1, 2, 60),
    (2, 8, 3, 3, 7),
]
ROUNDING = 2**-23  # of float32; of few numbers the plain path may be right by luck
QUICK = tuple("-O0" if flag == "-O3" else flag for flag in FLAGS)
X86 = platform.machine().lower() in {"x86_64", "amd64"}
TARGETS = [("-mavx2", "-mfma"), ("-msse2",)] if X86 else [()]  # with fewer and shorter registers than this machine has
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]


def policies(S, V, H):
    """One set of parameters in float64 and float32, and native; away from the start, where scales are 1."""
    noise = Noise("native", "", tuple(range(S)), dtype=torch.float64)
    theta = TransformerPolicy.initial(noise, V, H).theta
    theta += 0.05 * noise.normal("theta", 0, (theta.shape[1],))
    exact = TransformerPolicy(theta, V, H)
    return (
        exact,
        TransformerPolicy(theta.float(), V, H),
        NativeTransformer(theta.float(), V, H),
    )


def batch(S, V, H, K, B, T=None):
    rng = np.random.default_rng(0)
    prompts, tokens = rng.integers(0, V, (S, B, H)), rng.integers(0, V, (S, B, K, T or H))
    return torch.from_numpy(prompts), torch.from_numpy(tokens)


def log_probs(policy, prompts, tokens, **parts):
    tree = policy.pack(policy.paths(prompts, tokens), **parts)
    return policy.log_prob_table(tree).gather(1, tree.index).view(tree.shape)


def gradients(policy, logp, weight):
    """Of each array by its name."""
    gradient = torch.autograd.grad((logp * weight.to(logp.dtype)).sum(), policy.parameters)
    return policy.named(torch.cat([g.flatten(1) for g in gradient], dim=1))


def error(x, exact):
    return float((x.double() - exact).norm() / exact.norm())


def require_no_less_exact(three, S, V, H, K, B):
    """Of (float64, plain float32, another): against the first the third errs at most 3 times as much as the second."""
    prompts, tokens = batch(S, V, H, K, B)
    weight = torch.randn(S, B, K, H, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logps = [log_probs(policy, prompts, tokens) for policy in three]
    exact, plain, other = (x.detach() for x in logps)
    assert error(other, exact) <= 3 * max(error(plain, exact), ROUNDING)
    grads = [gradients(policy, logp, weight) for policy, logp in zip(three, logps, strict=True)]
    for name in three[0].at:
        # of the keys' biases the gradient is 0 but for rounding
        exact, plain, other = (x[name][:, [0, 2]] if name.startswith("qkv_bias") else x[name] for x in grads)
        if exact.norm() > 1e-9:  # behind a single token attention has nothing to choose
            assert error(other, exact) <= 3 * max(error(plain, exact), ROUNDING), name


@pytest.mark.parametrize(("S", "V", "H", "K", "B"), SHAPES)
def test_no_less_exact_than_the_plain_path(S, V, H, K, B):
    """Log-probs, and each parameter's gradient."""
    require_no_less_exact(policies(S, V, H), S, V, H, K, B)


def test_the_same_tokens_are_drawn():
    """Each drawn token is the one in whose interval of the exact probabilities its uniform lies, to 1e-5."""
    S, V, H, K, B = 2, 3, 5, 4, 30
    exact, _, native = policies(S, V, H)
    noise = Noise("native", "", (0, 1), dtype=torch.float64)
    prompts, uniform = noise.integers("prompt", 0, V, (B, H)), noise.uniform("action", 0, (B, K, H))
    tokens, table = native.walk(prompts, uniform.float())
    logp = log_probs(native, prompts, tokens).detach()
    np.testing.assert_allclose(table.gather(-1, tokens[..., None])[..., 0], logp, rtol=0, atol=1e-5)
    every = [log_probs(exact, prompts, torch.cat([tokens[..., :t], torch.full_like(tokens[..., t:], v)], -1))[..., t]
             for t in range(H) for v in range(V)]  # fmt: skip
    bounds = torch.stack(every).view(H, V, S, B, K).permute(2, 3, 4, 0, 1).exp().cumsum(-1).detach()
    below = torch.nn.functional.pad(bounds, (1, 0)).gather(-1, tokens[..., None])[..., 0]
    above = bounds.gather(-1, tokens[..., None])[..., 0]
    assert (below - 1e-5 <= uniform).all()
    assert (uniform < above + 1e-5).all()


def test_skipped_contexts_change_no_other():
    """`keep` computes some contexts only, with their log-probs and gradients as they are among all."""
    prompts, tokens = batch(2, 2, 6, 4, 12)
    *_, native = policies(2, 2, 6)
    rows = np.array([1, 5, 6])
    weight = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    every = log_probs(native, prompts, tokens)[:, rows]
    some = log_probs(native, prompts, tokens, keep=rows)
    np.testing.assert_allclose(some.detach(), every.detach(), rtol=0, atol=1e-6)
    both = (gradients(native, x, weight).values() for x in (every, some))
    for a, b in zip(*both, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)
    paths = native.paths(prompts, tokens)
    assert native.pack(paths, keep=rows).tokens < native.pack(paths).tokens


def test_reach_leaves_out_what_comes_after():
    """The first reach + 1 tokens of a context keep their log-probs, and rows after them are not computed."""
    prompts, tokens = batch(1, 3, 5, 1, 20)
    *_, native = policies(1, 3, 5)
    rows, reach = np.arange(20), np.arange(20) % 5
    every = log_probs(native, prompts, tokens).detach()
    some = log_probs(native, prompts, tokens, keep=rows, reach=reach).detach()
    for row in rows:
        until = slice(0, int(reach[row]) + 1)
        np.testing.assert_allclose(some[0, row, :, until], every[0, row, :, until], rtol=0, atol=1e-6)
    paths = native.paths(prompts, tokens)
    assert native.pack(paths, keep=rows, reach=reach).tokens < native.pack(paths).tokens


def test_every_distinct_prefix_is_one_row_prompts_included():
    """Prompts 01 and 00 with answers 10, 11 and 11 share their 0; the last token is never an input."""
    actions = np.array([[[[1, 0], [1, 1]], [[1, 1], [1, 1]]]])
    packed = pack(Sequences(np.array([[[0, 1], [0, 0]]]), actions), 2)
    (forest,) = packed.forests
    token, position, parent, answer = forest.nodes.tolist()
    assert (token, position) == ([0, 0, 1, 1, 1], [0, 1, 2, 1, 2])
    assert (parent, answer) == ([-1, 0, 1, 0, 3], [-1, 0, 1, 2, 3])
    assert packed.index.tolist() == [[2 * 2 + 1, 3 * 2 + 0, 2 * 2 + 1, 3 * 2 + 1, 1, 3, 1, 3]]


def test_a_sequence_that_ends_early_has_fewer_rows():
    """Lengths 1 and 3 of 0110: the first is a prefix of the second."""
    (forest,), (row,) = grow(np.array([[[0, 1, 1], [0, 1, 1]]]), np.array([1, 3]), 0)
    assert forest.nodes[0].tolist() == [0, 1, 1]
    assert row[1].tolist() == [0, 1, 2]
    assert row[0, 0] == 0


def test_seeds_side_by_side_have_the_forests_that_they_have_alone():
    """Of unequal sizes, with answers from the second token on."""
    sequences = np.array([[[0, 0, 0], [0, 0, 1]], [[1, 0, 1], [0, 1, 1]], [[1, 1, 1], [1, 1, 1]]])
    length = np.array([2, 3])
    together, rows = grow(sequences, length, 1)
    assert [forest.rows for forest in together] == [3, 5, 3]
    for own, forest, row in zip(sequences, together, rows, strict=True):
        (alone,), (expected,) = grow(own[None], length, 1)
        assert np.array_equal(forest.nodes, alone.nodes)
        assert forest.answers == alone.answers
        assert np.array_equal(row, expected)


def test_seeds_side_by_side_draw_and_learn_the_bytes_that_they_do_alone():
    """Prompts, uniforms and parameters of each seed are its own, and its batch is of another size."""
    S, V, H, K, B = 3, 3, 4, 2, 12
    *_, native = policies(S, V, H)
    noise = Noise("native", "", tuple(range(S)))
    prompts, uniform = noise.integers("prompt", 0, V, (B, H)), noise.uniform("action", 0, (B, K, H))
    prompts[1, 1:] = prompts[1, 0]
    tokens, table = native.walk(prompts, uniform)
    together = gradients(native, log_probs(native, prompts, tokens), torch.ones(()))
    for s in range(S):
        alone = NativeTransformer(native.theta[s : s + 1].clone(), V, H)
        own, expected = alone.walk(prompts[s : s + 1], uniform[s : s + 1])
        assert torch.equal(tokens[s], own[0])
        assert torch.equal(table[s], expected[0])
        gradient = gradients(alone, log_probs(alone, prompts[s : s + 1], own), torch.ones(()))
        assert all(torch.equal(together[name][s], gradient[name][0]) for name in gradient)


def test_the_norm_of_a_gradient_is_that_of_its_arrays():
    """Of theta's as one and of the arrays' one by one, to the last bit."""
    _, plain, native = policies(2, 2, 3)
    flat = torch.randn(native.theta.shape, generator=torch.Generator().manual_seed(0))
    norm = native.square_norm([flat])
    assert torch.equal(norm, plain.square_norm(list(native.named(flat).values())))
    np.testing.assert_allclose(norm, flat.double().square().sum(1), rtol=1e-5)


def test_two_graphs_may_be_open():
    """What a graph has kept stays its own: gradients taken in either order are those taken one at a time."""
    *_, native = policies(1, 2, 4)
    (first, second), weight = [batch(1, 2, 4, 2, B) for B in (9, 14)], torch.ones(())
    alone = [gradients(native, log_probs(native, *each), weight) for each in (first, second)]
    logps = [log_probs(native, *each) for each in (first, second)]
    with torch.no_grad():
        log_probs(native, *second)
    for expected, logp in zip(alone[::-1], logps[::-1], strict=True):
        for name, gradient in gradients(native, logp, weight).items():
            assert torch.equal(gradient, expected[name])


def test_a_graph_is_taken_once_and_with_the_parameters_it_was_made_with():
    """Torch's own words for both, instead of gradients of something else."""
    *_, native = policies(1, 2, 4)
    logp = log_probs(native, *batch(1, 2, 4, 2, 5))
    torch.autograd.grad(logp.sum(), native.parameters)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(logp.sum(), native.parameters)
    logp = log_probs(native, *batch(1, 2, 4, 2, 5))
    native.theta += 0.1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(logp.sum(), native.parameters)


@pytest.mark.parametrize("name", ["token", "qkv0", "qkv1", "norm_scale1", "up1", "head"])
def test_nan_is_not_lost(name):
    """Parameters that are not numbers (queries alone, of qkv) give log-probs that are none, of their own seed only."""
    *_, native = policies(2, 2, 4)
    with torch.no_grad():
        native.at[name][1][..., :MODEL] = torch.nan
    logp = log_probs(native, *batch(2, 2, 4, 2, 5)).detach()
    assert logp[1].isnan().all()
    assert logp[0].isfinite().all()


def test_equal_calls_give_equal_bytes():
    """Nothing depends on what memory held before."""
    *_, native = policies(1, 2, 6)
    sizes = [batch(1, 2, 6, 4, B) for B in (30, 5, 30)]
    first, _, again = (gradients(native, log_probs(native, *each), torch.ones(())) for each in sizes)
    assert all(torch.equal(first[name], again[name]) for name in first)


def moved(make, theta, gradients):
    """What an optimiser makes of parameters; its seeds change places on the way."""
    theta, optimizer = theta.clone(), None
    for i, gradient in enumerate(gradients):
        optimizer = optimizer or make(theta)
        if i == 2:
            theta, gradients = theta[[1, 0]], [g[[1, 0]] for g in gradients]
            optimizer.take([1, 0])
        optimizer.step(theta, gradient.to(theta.dtype))
    return theta


@pytest.mark.parametrize("name", ["adam", "muon"])
@pytest.mark.parametrize(("V", "H"), [(2, 10), (16, 3), (70, 40)])
def test_optimisers_are_no_less_exact_than_the_plain_ones(name, V, H):
    """After four steps the distance moved errs at most 3 times as much as plain float32's, by seed and by part."""
    kernel, blocks = native_kernel(), muon_blocks(V, H)
    noise = Noise("native", "", (0, 1), dtype=torch.float64)
    theta = TransformerPolicy.initial(noise, V, H).theta
    gradients = [noise.normal("gradient", step, (theta.shape[1],)) for step in range(4)]
    plain = (lambda x: Muon(0.1, blocks, x)) if name == "muon" else (lambda _: Adam(0.1, nesterov=True))
    native = (lambda x: NativeMuon(kernel, 0.1, blocks, x)) if name == "muon" else (lambda _: NativeAdam(kernel, 0.1))
    exact = moved(plain, theta, gradients)
    both = [moved(make, theta.float(), gradients) for make in (plain, native)]
    edge = sum(block.size for block in blocks)
    for part in (slice(0, edge), slice(edge, None)):
        start = theta[[1, 0], part]
        goal = exact[:, part] - start
        apart = [float((x[:, part].double() - start.float().double() - goal).norm() / goal.norm()) for x in both]
        assert apart[1] <= 3 * max(apart[0], ROUNDING)


def test_a_zero_gradient_moves_nothing_and_nan_is_not_lost_by_muon():
    """Of a matrix without gradient nothing can be orthogonal; one that is not a number takes its matrix along."""
    blocks, theta = muon_blocks(2, 3), torch.ones(2, sum(block.size for block in muon_blocks(2, 3)) + 5)
    gradient = torch.zeros_like(theta)
    gradient[1, 7] = torch.nan
    NativeMuon(native_kernel(), 0.1, blocks, theta).step(theta, gradient)
    assert (theta[0] == 1).all()
    assert theta[1, : 64 * 256].isnan().all()
    assert (theta[1, 64 * 256 :] == 1).all()


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("target", TARGETS, ids=" ".join)
def test_other_registers(target, compiler):
    """Vectors of 8 and of 4 floats, by every compiler that is here."""
    flags = tuple(flag for flag in FLAGS if not flag.endswith("native"))
    require_same(Kernel.compiled(compiler, (*flags, *target)))


def fake(folder: Path, script: str) -> str:
    """A compiler that is a shell script."""
    path = folder / "fakecc"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


REAL = next(path for name in build.COMPILERS if (path := shutil.which(name)))
JUNK = 'for word; do [ "$before" = -o ] && echo junk > "$word"; before="$word"; done; exit 0'
BROKEN = {
    "is missing": (None, r"no C compiler; install one of cc, gcc, clang"),
    "fails": ("echo 'x.c:1: error: no such luck' >&2; exit 1", r"fails: x\.c:1: error: no such luck"),
    "fails silently": ('[ "$1" = --version ] || exit 3', r"fails: exit code 3"),
    "makes nothing": ("exit 0", r"cannot be kept or loaded"),
    "makes junk": (JUNK, r"cannot be kept or loaded"),
    "computes wrongly": (f'exec {REAL} "$@" -UEPSILON -DEPSILON=0.5', r"computes other log-probs"),
    "gives nan": (f'exec {REAL} "$@" -UEPSILON -DEPSILON=-5.0', r"computes other log-probs: nan"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_compiler_that_does_not_do(tmp_path, name):
    """Missing, failing, or computing something else: one line says why there is no kernel."""
    script, reason = BROKEN[name]
    compiler = "no-such-compiler" if script is None else fake(tmp_path, script)
    with pytest.raises(NoKernel, match=reason):
        require_same(Kernel(load(defines(), compiler, QUICK, tmp_path / "cache")))


def test_a_library_is_compiled_once(tmp_path):
    """The second process finds it; another flag, and another compiler, are another library."""
    compiler = fake(tmp_path, f'echo "$@" >> {tmp_path}/calls; exec {REAL} "$@"')

    def compilations():
        return sum("kernel.c" in line for line in Path(tmp_path, "calls").read_text(encoding="utf-8").splitlines())

    for _ in range(2):
        load(defines(), compiler, QUICK, tmp_path / "cache")
    assert compilations() == 1
    load(defines(), compiler, (*QUICK, "-DOTHER"), tmp_path / "cache")
    assert compilations() == 2


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "key"])
def test_a_damaged_library_is_compiled_anew(tmp_path, damage):
    """The hash of its bytes is its name, so it is never loaded."""
    load(defines(), None, QUICK, tmp_path)
    (library,), (key,) = tmp_path.glob("*.so"), tmp_path.glob("*.sha256")
    whole = library.read_bytes()
    library.unlink()  # this process holds the file
    if damage == "key":
        key.write_bytes(b"../../\xff")
    elif damage != "gone":
        library.write_bytes(whole[: len(whole) // 2] if damage == "cut" else whole[:-1] + b"\x01")
    require_same(Kernel(load(defines(), None, QUICK, tmp_path)))
    assert library.read_bytes() == whole


def test_several_may_compile_at_once(tmp_path):
    """All of them get a library that works, and the cache holds one."""
    errors = []

    def make():
        try:
            require_same(Kernel(load(defines(), None, QUICK, tmp_path)))
        except Exception as error:  # noqa: BLE001 - of any kind
            errors.append(error)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".sha256", ".so"]


def test_without_a_place_for_the_cache_it_is_compiled_into_a_temporary_folder(tmp_path, monkeypatch):
    """A file where the cache should be: nothing is left behind, and the kernel works."""
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    require_same(Kernel(load(defines(), None, QUICK, tmp_path / "file" / "cache")))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_without_any_place_to_write_there_is_no_kernel(tmp_path, monkeypatch):
    """Neither the cache nor a temporary folder: the reason is said, and the plain path can be taken."""
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    with pytest.raises(NoKernel, match=r"cannot be kept or loaded: .*Not a directory"):
        load(defines(), None, QUICK, tmp_path / "file" / "cache")
