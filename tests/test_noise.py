"""Random numbers depend on suite, cell, seed, role and step, and on nothing else."""

import numpy as np
import torch

from tpobench.policies.noise import Noise


def draw(**changes):
    key = {"suite": "s", "cell": "c", "seeds": (0,), "dtype": torch.float64} | changes
    return Noise(**key).uniform("action", 3, (4,))


def test_same_key_same_numbers():
    """Two streams with the same key agree, whatever was drawn before."""
    noise = Noise("s", "c", (0,), dtype=torch.float64)
    noise.uniform("prompt", 0, (7,))
    assert torch.equal(noise.uniform("action", 3, (4,)), draw())


def test_every_part_of_the_key_matters():
    """Suite, cell, seed, role and step each give other numbers."""
    noise = Noise("s", "c", (0,), dtype=torch.float64)
    others = [
        draw(suite="z"),
        draw(cell="z"),
        draw(seeds=(1,)),
        noise.uniform("prompt", 3, (4,)),
        noise.uniform("action", 4, (4,)),
    ]
    assert all(not torch.equal(other, draw()) for other in others)


def test_a_seed_does_not_depend_on_its_company():
    """Seed 5 draws the same numbers alone and stacked."""
    assert torch.equal(draw(seeds=(1, 5, 9))[1], draw(seeds=(5,))[0])


def test_a_longer_draw_begins_like_a_shorter_one():
    """An interaction-matched batch of 800 prompts starts with the 100 prompts of the prompt-matched one."""
    noise = Noise("s", "c", (0,))
    long, short = noise.integers("prompt", 2, 2, (800, 5)), noise.integers("prompt", 2, 2, (100, 5))
    assert torch.equal(long[:, :100], short)


def test_uniforms_stay_below_one_in_float32():
    """Rounding to float32 never gives 1, which inverse-CDF sampling could not place."""
    assert Noise("s", "c", (0,)).uniform("action", 0, (200_000,)).max() < 1


def test_known_values():
    """The seed scheme is part of every record: its numbers must never change silently."""
    np.testing.assert_allclose(draw()[0, :2].numpy(), KNOWN, rtol=0, atol=0)


KNOWN = [0.8812271828787253, 0.7146032605192644]
