"""Images as bags of their bright pixels: a product with an image adds up one row of the kernel per bright pixel.

Four fifths of the pixels of MNIST are black.  Every image also holds a pixel of intensity 1 that belongs to the bias,
so W x + b = sum_j x_j W_j over its bag, and dL/dW_j = sum_i x_ij dL/dh_i over the images that hold pixel j: the
transposed bags.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_matrix
from torch import Tensor

CHUNK = 4096


@dataclass(frozen=True)
class Bags:
    """Weighted sets of rows of a table."""

    row: Tensor  # (N,) int32
    weight: Tensor  # (N,)
    start: Tensor  # (bags,) int32, where each bag begins

    def sum(self, table: Tensor) -> Tensor:
        """sum_j weight_j table[row_j] of each bag: (rows, H) -> (bags, H)."""
        return F.embedding_bag(self.row, table, self.start, mode="sum", per_sample_weights=self.weight)


@dataclass(frozen=True)
class DenseBags:
    """The same with the weight of every row, so that shapes do not depend on the images; seeds have bags of their own.

    The transposed bags are those of the transposed weights.
    """

    weight: Tensor  # (S, bags, rows)

    def sum(self, table: Tensor) -> Tensor:
        """W table of each seed: (S * rows, H) -> (S * bags, H)."""
        return torch.bmm(self.weight, table.view(len(self.weight), -1, table.shape[-1])).flatten(0, 1)


def bright_pixels(images: np.ndarray, highest: int) -> csr_matrix:
    """The pixels of images (N, P) that are not black, with the constant pixel P after the last: (N, P + 1)."""
    columns, intensities = [], []
    for first in range(0, len(images), CHUNK):  # the positions of all pixels at once would take ten times their bytes
        chunk = np.pad(images[first : first + CHUNK], ((0, 0), (0, 1)), constant_values=highest)
        columns.append(np.nonzero(chunk)[1].astype(np.int32))
        intensities.append(chunk[chunk > 0])
    bounds = np.append(0, np.cumsum(1 + np.count_nonzero(images, axis=1))).astype(np.int32)
    shape = (len(images), images.shape[1] + 1)
    return csr_matrix((np.concatenate(intensities), np.concatenate(columns), bounds), shape=shape)


@dataclass(frozen=True)
class SparseImages:
    """A set of images as bags, for policies of one precision on one device."""

    pixels: csr_matrix  # (N, P + 1) of bytes
    highest: int
    dtype: torch.dtype
    device: str

    def bags(self, index: np.ndarray, rows: int) -> tuple[Bags, Bags]:
        """The bags of images `index` (S, B), and the transposed ones.

        Pixel p of seed s stands for row s * rows + p of a table that holds `rows` rows of every seed.
        """
        S, B = index.shape
        batch = self.pixels[index.ravel()]
        in_seed = np.diff(batch.indptr[::B])
        row = batch.indices + np.repeat(np.arange(S, dtype=np.int32) * np.int32(rows), in_seed)
        weight = self._intensity(batch.data)
        transposed = csr_matrix((weight, row, batch.indptr), shape=(S * B, S * rows)).tocsc()
        return (
            self._bags(row, weight, batch.indptr),
            self._bags(transposed.indices, transposed.data, transposed.indptr),
        )

    def all(self) -> Bags:
        """The bags of all images over the rows of one seed."""
        return self._bags(self.pixels.indices, self._intensity(self.pixels.data), self.pixels.indptr)

    def _intensity(self, pixel: np.ndarray) -> np.ndarray:
        """In [0, 1], divided in float32 whatever the policy's precision."""
        single = pixel.astype(np.float32) / np.float32(self.highest)
        return single if self.dtype == torch.float32 else single.astype(np.float64)

    def _bags(self, row: np.ndarray, weight: np.ndarray, bounds: np.ndarray) -> Bags:
        row_, weight_, start = (torch.from_numpy(a).to(self.device) for a in (row, weight, bounds[:-1]))
        return Bags(row_, weight_, start)


@dataclass(frozen=True)
class DenseImages:
    """A set of images on the device, black pixels included: the host never sees which of them are drawn."""

    pixels: Tensor  # (N, P) of bytes
    highest: int
    dtype: torch.dtype

    def bags(self, index: Tensor, rows: int) -> tuple[DenseBags, DenseBags]:
        """The bags of images `index` (S, B) over the `rows` rows of their seed, and the transposed ones."""
        intensity = (self.pixels[index].float() / self.highest).to(self.dtype)  # as in SparseImages
        weight = F.pad(F.pad(intensity, (0, 1), value=1.0), (0, rows - intensity.shape[-1] - 1))
        return DenseBags(weight), DenseBags(weight.mT)
