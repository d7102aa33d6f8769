"""Look-up in a million patterns: screening beside attention and beside exact search."""

from __future__ import annotations

import faiss
import torch
from torch.nn import functional as F

from benchmarks.speed.harness import Line, compare, peak_extra_bytes
from isinglass import ModernHopfield

__all__ = ["lines"]

PATTERNS, SIZE, CUES, BETA, NOISE = 1_000_000, 256, 64, 32.0, 0.5


def lines() -> list[Line]:
    """Recall of noisy cues from 1,000,000 × 256 patterns, and what it is made of."""
    generator = torch.Generator().manual_seed(0)
    patterns = F.normalize(torch.randn(PATTERNS, SIZE, generator=generator), dim=-1)
    noise = NOISE / SIZE**0.5 * torch.randn(CUES, SIZE, generator=generator)
    cues = F.normalize(patterns[:CUES] + noise, dim=-1)
    memory = ModernHopfield(patterns, BETA, copy=False)
    kernel = memory.build_index()
    keys = patterns[None, None]

    def attention(count: int = CUES) -> torch.Tensor:
        asked = cues[None, None, :count]
        return F.scaled_dot_product_attention(asked, keys, keys, scale=BETA)[0, 0]

    def scalar_quantizer() -> None:
        codes = faiss.IndexScalarQuantizer(SIZE, faiss.ScalarQuantizer.QT_8bit)
        codes.train(patterns.numpy())  # pyright: ignore[reportCallIssue]
        codes.add(patterns.numpy())  # pyright: ignore[reportCallIssue]

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
        *(
            compare(
                "recall after build_index(), one update and its energy",
                lambda count=count: memory.recall(cues[:count], max_steps=1),
                lambda count=count: attention(count),
                peer="F.scaled_dot_product_attention", target=0.2,
                shapes=f"{count} × {PATTERNS:,} × {SIZE}, float32, β = {BETA:g}",
            )
            for count in (CUES, 1)
        ),
        compare(
            "build_index()", memory.build_index, scalar_quantizer,
            peer="faiss IndexScalarQuantizer, 8 bits, train + add", rounds=3,
            shapes=f"{PATTERNS:,} × {SIZE}, float32",
        ),
        compare(
            "one update, whole sum", lambda: memory.cccp_update(cues), attention,
            peer="F.scaled_dot_product_attention", shapes=shapes,
            note=f"extra memory {peak_extra_bytes(lambda: memory.cccp_update(cues)) / 2**20:.0f} "
            f"MiB; the matrix of scores would take {CUES * PATTERNS * 4 / 2**20:.0f} MiB",
        ),
    ]  # fmt: skip
