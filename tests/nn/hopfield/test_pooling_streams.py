"""A set that comes in blocks is pooled as the whole set is, gradients too."""

import pytest
import torch
from torch import nn

from isinglass.errors import DomainError, ParameterError, ShapeError
from isinglass.nn import HopfieldPooling
from tests.cases import double

F64 = {"dtype": torch.float64}
KINDS = {
    "bare": {},
    "heads": {"num_heads": 2, "quantity": 3, "scaling": torch.tensor([0.4, 6.0]).double()},
    "own patterns": {"concat_bias_pattern": True, "add_zero_association": True, "quantity": 2},
    "two updates": {"update_steps_max": 2, "scaling": 3.0},
    "each head its updates": {"num_heads": 2, "update_steps_max": [1, 4], "scaling": 3.0},
    "until rest": {"update_steps_max": None, "scaling": 2.0, "update_steps_eps": 0.01},
    "connected": {"pattern_projection_as_connected": True, "normalize_hopfield_space": True},
    "activated": {"association_activation": "tanh", "batch_first": True},
}


def pooling(**options):
    """With parameters that are far from special."""
    pool = HopfieldPooling(6, **options, **F64).eval()
    for number, parameter in enumerate(pool.parameters()):
        parameter.data = double(*parameter.shape, seed=number, scale=0.7)
    return pool


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("size", [1, 7, 100])
def test_blocks_are_pooled_as_the_whole(options, size):
    pool, rows = pooling(**options), double(3, 23, 6, seed=50, scale=3)
    padding = double(3, 23, seed=51) > 0.5
    padding[0, :14] = True  # whole blocks of nothing
    padding[1] = True  # a bag of nothing
    masks = padding.split(size, 1)
    found = pool.stream(rows.split(size, 1), masks)
    torch.testing.assert_close(found, pool(rows, padding), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(pool.stream(rows[0].split(size)), pool(rows[0]))
    weights = torch.cat([*pool.stream_association(rows.split(size, 1), masks)], -1)
    whole = pool.association(rows, padding)
    if not pool.options.concat_bias_pattern:  # whose weights are among those of the first block
        torch.testing.assert_close(weights, whole, rtol=1e-9, atol=1e-12)


def test_batch_second_is_as_batch_first():
    pool, rows = pooling(batch_first=False), double(23, 3, 6)
    torch.testing.assert_close(pool.stream(rows.split(5)), pool(rows))


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_gradients_are_those_of_the_whole(options):
    """Of the pooling and of what embeds the rows, with bags of nothing beside others."""
    pool, embed = pooling(**options), nn.Linear(4, 6, **F64)
    rows, slope = double(2, 17, 4, seed=60), double(2, pool(double(2, 1, 6)).shape[-1], seed=61)
    padding = torch.zeros(2, 17, dtype=torch.bool)
    padding[0, 2:] = True
    parameters = [p for p in (*pool.parameters(), *embed.parameters()) if p.requires_grad]
    blocks = pool.stream(rows.split(5, 1), padding.split(5, 1), embed=embed)
    found = torch.autograd.grad((blocks * slope).sum(), parameters)
    expected = torch.autograd.grad((pool(embed(rows), padding) * slope).sum(), parameters)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-11)


def test_scores_of_any_size_do_not_overflow():
    pool = pooling(scaling=1e4)
    rows = double(1, 40, 6, seed=3, scale=30)
    found = pool.stream(rows.split(8, 1))
    assert found.isfinite().all()
    torch.testing.assert_close(found, pool(rows))
    half = HopfieldPooling(6, scaling=50.0, dtype=torch.float16)
    found = half.stream(rows.half().split(8, 1))
    assert found.dtype == torch.float16
    torch.testing.assert_close(found, half(rows.half()), rtol=1e-2, atol=1e-3)


def test_no_more_than_a_block_is_embedded_at_a_time():
    """What is saved for the backward pass does not grow with the set, but for its blocks."""
    pool, embed = HopfieldPooling(32), nn.Linear(1, 32)

    def kept(rows):
        sizes = []

        def pack(saved):
            sizes.append(saved.untyped_storage().nbytes())
            return saved

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
            pool.stream(rows.split(100), embed=embed)
        return max(sizes)

    assert kept(torch.randn(10_000, 1)) == kept(torch.randn(200, 1)) < 100 * 32 * 4
    with (
        torch.autograd.graph.saved_tensors_hooks(
            lambda saved: pytest.fail("kept without gradients"), lambda saved: saved
        ),
        torch.no_grad(),
    ):
        pool.stream(torch.randn(200, 1).split(100), embed=embed)


def test_dropout_is_of_the_weights():
    pool = pooling(dropout=0.5).train()
    rows = double(1, 30, 6)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = pool.stream(rows.expand(3000, -1, -1).split(7, 1))
    error = draws.std(0) / 3000**0.5
    assert ((draws.mean(0) - pool.eval()(rows)).abs() < 5 * error).all()
    assert (error > 0).all()


def test_blocks_are_loaded_as_they_are_asked_for():
    pool, rows = pooling(), double(30, 6)
    torch.testing.assert_close(pool.stream(row for row in rows.split(8)), pool(rows))
    with pytest.raises(ParameterError, match="gone over 2 times"):
        pooling(update_steps_max=2).stream(row for row in rows.split(8))
    with pytest.raises(ParameterError, match="gone over 2 times"):
        list(pool.stream_association(row for row in rows.split(8)))


def test_bad_blocks_are_refused():
    pool, rows = pooling(), double(30, 6)
    with pytest.raises(ShapeError, match="no block"):
        pool.stream([])
    with pytest.raises(ShapeError, match="features"):
        pool.stream([rows, rows[:, :5]])
    with pytest.raises(DomainError, match="NaN"):
        pool.stream([rows, rows * torch.nan])
    with pytest.raises(ShapeError, match="not as many paddings as blocks"):
        pool.stream([rows], [torch.zeros(30, dtype=torch.bool)] * 2)


@pytest.mark.parametrize("what", ["block", "padding"])
def test_one_buffer_for_all_blocks_is_refused_in_the_backward_pass(what):
    """Its gradients would be those of the last block, said of each."""
    pool, rows, padding = pooling(), double(20, 6), double(20) > 1.5
    buffer = {"block": torch.empty(5, 6).double(), "padding": torch.empty(5, dtype=torch.bool)}
    parts = {"block": rows.split(5), "padding": padding.split(5)}

    def reused():
        for part in parts[what]:
            buffer[what].copy_(part)
            yield buffer[what]

    found = pool.stream(*(parts | {what: reused()}).values())
    torch.testing.assert_close(found, pool(rows, padding))
    with pytest.raises(
        DomainError, match=rf"{what} \d was written to.*of its own for each"
    ) as caught:
        found.sum().backward()
    assert caught.value.operation == "HopfieldPooling.stream"
    with torch.no_grad():
        found = pool.stream(*(parts | {what: reused()}).values())
    torch.testing.assert_close(found, pool(rows, padding))
    found = pool.stream(*(parts | {what: (part.clone() for part in reused())}).values())
    slope = torch.autograd.grad(found.sum(), pool.pooling_weights)[0]
    expected = torch.autograd.grad(pool(rows, padding).sum(), pool.pooling_weights)[0]
    torch.testing.assert_close(slope, expected)


def test_blocks_that_embed_writes_to_are_refused_in_the_next_update():
    pool, rows = pooling(update_steps_max=2), double(20, 6)
    with torch.no_grad(), pytest.raises(DomainError, match=r"block \d was written to"):
        pool.stream(rows.split(5), embed=lambda block: block.mul_(2))


def test_blocks_of_inference_mode_are_pooled():
    pool = pooling()
    with torch.inference_mode():
        rows = double(20, 6).clone()
        torch.testing.assert_close(pool.stream(rows.split(5)), pool(rows))


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("shapes", [[(2, 5, 6), (3, 5, 6)], [(1, 5, 6), (3, 5, 6)],
                                    [(3, 5, 6), (1, 5, 6)], [(5, 6), (2, 5, 6)],
                                    [(2, 5, 6), (5, 6)], [(2, 5, 6), (6,)]])  # fmt: skip
def test_blocks_of_differing_batches_are_refused(shapes, batch_first):
    pool, blocks = pooling(batch_first=batch_first), [double(*shape) for shape in shapes]
    if not batch_first:
        blocks = [block.transpose(0, 1) if block.ndim == 3 else block for block in blocks]
    with pytest.raises(ShapeError, match=r"block 1 with patterns of shape .*Give all blocks"):
        pool.stream(blocks)
    with pytest.raises(ShapeError, match="stream_association: block 1 with patterns of shape"):
        list(pool.stream_association(blocks))


@pytest.mark.parametrize(
    ("blocks", "paddings", "embed", "said"),
    [
        ("abc", None, None, "block 0 = a of type str"),
        (None, None, None, "blocks = None of type NoneType"),
        ([double(5, 6), (double(5, 6), double(5, 6))], None, None, "block 1 = .* of type tuple"),
        ([double(5, 6), None], [torch.zeros(5).bool()] * 2, None, "block 1 = None of type"),
        ([double(5, 6)], 3, None, "paddings = 3 of type int"),
        ([double(5, 6)], [[True] * 5], None, "padding 0 = .* of type list"),
        ([double(5, 6)], None, 3, "embed = 3 of type int"),
        ([double(5, 6)], None, lambda _: None, r"embed\(block 0\) = None of type NoneType"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unannotated")
def test_what_is_no_block_is_named(blocks, paddings, embed, said):
    with pytest.raises(ParameterError, match=f"(?s)HopfieldPooling.stream: {said}"):
        pooling().stream(blocks, paddings, embed=embed)
