"""Look-up in a million patterns: screening beside attention and beside exact search."""

from __future__ import annotations

import faiss
import torch
from torch.nn import functional as F

from benchmarks.speed.harness import Line, compare, peak_extra_bytes
from isinglass import ModernHopfield
from isinglass.dynamics import QuantizedCCCP

__all__ = ["lines"]

PATTERNS, SIZE, CUES, BETA, NOISE = 1_000_000, 256, 64, 32.0, 0.5


def lines() -> list[Line]:
    """One update of 64 noisy cues, and a recall of two, on 1,000,000 × 256 patterns."""
    generator = torch.Generator().manual_seed(0)
    patterns = F.normalize(torch.randn(PATTERNS, SIZE, generator=generator), dim=-1)
    noise = NOISE / SIZE**0.5 * torch.randn(CUES, SIZE, generator=generator)
    cues = F.normalize(patterns[:CUES] + noise, dim=-1)
    memory = ModernHopfield(patterns, BETA, copy=False)
    kernel = QuantizedCCCP(memory)
    keys = patterns[None, None]

    def attention() -> torch.Tensor:
        return F.scaled_dot_product_attention(cues[None, None], keys, keys, scale=BETA)[0, 0]

    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatIP(SIZE)
    index.add(patterns.numpy())  # pyright: ignore[reportCallIssue]
    shapes = f"{CUES} × {PATTERNS:,} × {SIZE}, float32, β = {BETA:g}"

    def update() -> torch.Tensor:
        return kernel.index.lookup(cues, BETA).average

    exact = torch.softmax(BETA * cues.double() @ patterns.double().mT, -1) @ patterns.double()
    found = kernel.index.lookup(cues, BETA)
    note = (
        f"at most {found.omitted_mass_bound.max():.1e} of the mass left out; largest error "
        f"{(found.average - exact).abs().max():.1e}, attention's "
        f"{(attention() - exact).abs().max():.1e}; 8-bit copy {kernel.index.nbytes / 2**20:.0f} "
        f"MiB, extra memory {peak_extra_bytes(update) / 2**20:.0f} MiB"
    )
    return [
        compare(
            "one update, screened", update, attention,
            peer="F.scaled_dot_product_attention", shapes=shapes, target=0.2, note=note,
        ),
        compare(
            "one update, screened", update, lambda: index.search(cues.numpy(), 1),  # pyright: ignore[reportCallIssue]
            peer="faiss IndexFlatIP.search, k = 1", shapes=shapes, target=0.05,
        ),
        compare(
            "recall, one update and its energy, screened",
            lambda: memory.recall(cues, kernel=kernel, max_steps=1), attention,
            peer="F.scaled_dot_product_attention", shapes=shapes,
        ),
        compare(
            "one update, whole sum", lambda: memory.cccp_update(cues), attention,
            peer="F.scaled_dot_product_attention", shapes=shapes,
            note=f"extra memory {peak_extra_bytes(lambda: memory.cccp_update(cues)) / 2**20:.0f} "
            f"MiB; the matrix of scores would take {CUES * PATTERNS * 4 / 2**20:.0f} MiB",
        ),
    ]  # fmt: skip
