"""The optimisers' first steps, by hand; whole trajectories are checked against the reference in test_transformer."""

import numpy as np
import torch

from tpobench.policies.optimizers import Adam, Block, Muon, NormalizedStep, clipped, muon_scale, orthogonalize


def test_normalized_step_has_length_alpha_per_seed():
    """g = (3, 4): theta moves by -0.1 (0.6, 0.8); a zero gradient moves nothing."""
    theta = torch.zeros(2, 2, dtype=torch.float64)
    NormalizedStep(0.1).step(theta, torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64))
    np.testing.assert_allclose(theta, [[-0.06, -0.08], [0, 0]], atol=1e-15)


def test_first_adam_steps():
    """Plain Adam starts with lr sign(g); with Nesterov momentum with (0.9 * 0.1 / 0.19 + 1) lr sign(g) = 1.4737 lr."""
    for nesterov, size in ((False, 1.0), (True, 1 + 0.09 / 0.19)):
        theta = torch.zeros(1, 2, dtype=torch.float64)
        Adam(1e-3, nesterov=nesterov).step(theta, torch.tensor([[0.5, -2.0]], dtype=torch.float64))
        np.testing.assert_allclose(theta, [[-size * 1e-3, size * 1e-3]], rtol=1e-6)


def test_adamw_is_that_of_torch():
    """Three steps from the same start on the same gradients, weights decayed apart from the moments."""
    generator = torch.Generator().manual_seed(3)
    theta = torch.randn(2, 5, dtype=torch.float64, generator=generator)
    expected = theta.clone().requires_grad_()
    theirs, ours = torch.optim.AdamW([expected], lr=0.1, weight_decay=0.3), Adam(0.1, decay=0.3)
    for _ in range(3):
        expected.grad = torch.randn(2, 5, dtype=torch.float64, generator=generator)
        ours.step(theta, expected.grad)
        theirs.step()
    np.testing.assert_allclose(theta, expected.detach(), rtol=1e-12)


def test_a_gradient_is_clipped_to_the_largest_norm_of_each_seed():
    """(3, 4) has norm 5 and is cut to 1, (0.3, 0.4) stays; 0 clips nothing."""
    gradient = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]], dtype=torch.float64)
    np.testing.assert_allclose(clipped(gradient, 1.0), [[0.6, 0.8], [0.3, 0.4], [0, 0]], rtol=1e-15)
    assert clipped(gradient, 0.0) is gradient


def test_orthogonalize_pushes_singular_values_towards_one():
    """Wide and tall matrices keep their singular vectors; their singular values land in [.65, 1.2]."""
    x = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    y = orthogonalize(x.expand(1, 4, 6))[0]
    core = u.T @ y @ v.T
    assert (core - core.diag().diag()).abs().max() < 1e-9
    assert core.diag().min() > 0.65
    assert core.diag().max() < 1.2
    np.testing.assert_allclose(orthogonalize(x.T.expand(1, 6, 4))[0], y.T, atol=1e-12)


def test_zero_padding_of_small_matrices_is_exact():
    """Matrices of unequal shapes in one padded stack move as each would alone."""
    generator = torch.Generator().manual_seed(2)
    blocks = (Block(0, 1, 3, 5, (1.0,)), Block(15, 1, 2, 4, (2.0,)), Block(23, 2, 1, 3, (1.0, 3.0)))
    theta = torch.zeros(2, 29 + 4, dtype=torch.float64)
    gradient = torch.randn(2, 33, dtype=torch.float64, generator=generator)
    Muon(0.1, blocks, theta).step(theta, gradient)
    for s in range(2):
        m_hat = gradient[s] * (0.95 * 0.05 / (1 - 0.95**2) + 1)
        for offset, rows, columns, scale in ((0, 3, 5, 1.0), (15, 2, 4, 2.0), (23, 1, 3, 1.0), (26, 1, 3, 3.0)):
            alone = orthogonalize(m_hat[offset : offset + rows * columns].view(1, rows, columns))[0]
            moved = theta[s, offset : offset + rows * columns].view(rows, columns)
            np.testing.assert_allclose(moved, -0.1 * scale * alone, atol=1e-12)


def test_muon_scale():
    """sqrt(max(1, fan_out / fan_in)) by Flax axes: 2 for 64 -> 256, 1 for 256 -> 64, 4 for a (2, 32) bias."""
    assert [muon_scale(64, 256), muon_scale(256, 64), muon_scale(2, 32)] == [2.0, 1.0, 4.0]
