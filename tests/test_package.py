"""What the package as a whole promises: light to import, imports that go down only."""

import ast
import importlib.metadata
import inspect
import re
import subprocess
import sys
from enum import Enum
from pathlib import Path

import pytest

import isinglass as ig
from isinglass import errors

SOURCE = Path(ig.__file__).parent

# The rooms from the ground up: a file may import from its own room and from those above it here.
ROOMS = [
    {"errors"},
    {"_support"},
    {"units", "retrieval"},
    {"core", "distributions"},
    {"dynamics", "io"},
    {"energies"},
    {"learning", "analysis"},
    {"nn", "data", "testing", "thinking", "world"},
    {"envs", "integrations"},
    {"agents", "language"},
    {"cli", "_api", "__main__", "__init__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """The rooms of isinglass that a file imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("isinglass"):
            parts = (node.module or "").split(".")
            names = parts[1:2] or [alias.name for alias in node.names]
            found.update(name for name in names if name in FLOOR)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("isinglass."):
                    found.add(alias.name.split(".")[1])
    return found


def test_imports_go_down_only():
    upward = []
    for path in SOURCE.rglob("*.py"):
        room = room_of(path)
        assert room in FLOOR, f"{path} is in no room of the plan"
        upward += [
            f"{path.relative_to(SOURCE)} imports {other}"
            for other in imports_of(path)
            if FLOOR[other] > FLOOR[room]
        ]
    assert not upward


def test_the_plan_catches_an_upward_import(tmp_path):
    stray = tmp_path / "stray.py"
    stray.write_text("def f():\n    from isinglass.learning import em_step\n")
    assert imports_of(stray) == {"learning"}
    assert FLOOR["learning"] > FLOOR["energies"]


def docstrings(path: Path) -> list[tuple[str, ast.AST, str]]:
    """Every public module, class and function of a file, with the first line of its docstring."""
    found = []

    def visit(node: ast.Module | ast.ClassDef | ast.FunctionDef, name: str) -> None:
        found.append((name, node, (ast.get_docstring(node) or "").partition("\n")[0]))
        inner = [] if isinstance(node, ast.FunctionDef) else node.body
        for child in inner:
            if not isinstance(child, ast.FunctionDef | ast.ClassDef) or child.name[0] == "_":
                continue
            if not any(word in ast.unparse(d) for d in child.decorator_list for word in BARE):
                visit(child, f"{name}.{child.name}")

    visit(ast.parse(path.read_text()), str(path))
    return found


BARE = ("setter", "overload")  # what follows or goes before the one that has the docstring


def says_what_is_done(node: ast.AST, line: str) -> bool:
    """A line of more than three words; of a function, a verb in the third person comes first."""
    words = line.split()
    nouns = isinstance(node, ast.Module | ast.ClassDef) or any(
        "property" in ast.unparse(decorator) for decorator in node.decorator_list
    )
    return len(words) > 3 and (nouns or re.fullmatch("[A-Z][a-z-]+s,?", words[0]) is not None)


def test_docstrings_say_what_is_done():
    """The commands are left out: theirs are the imperative help of a shell."""
    files = [path for path in SOURCE.rglob("*.py") if path.name != "command.py"]
    files += SOURCE.parents[1].glob("docs/extend/*.py")  # copied as they are
    assert not [
        f"{name}: {line}"
        for path in files
        for name, node, line in docstrings(path)
        if not says_what_is_done(node, line)
    ]


#: Rooms that nobody builds classes of.
WITHOUT_EXAMPLES = ("isinglass._support", "isinglass.cli")


def constructed() -> list[type]:
    """The classes that rooms export and that a user calls: not results, contracts or warnings."""
    modules = [".".join(path.parent.relative_to(SOURCE.parent).parts)
               for path in SOURCE.rglob("__init__.py")]  # fmt: skip
    names = {
        getattr(module, name)
        for module in map(importlib.import_module, sorted(modules))
        if not module.__name__.startswith(WITHOUT_EXAMPLES)
        for name in getattr(module, "__all__", ())
    }
    return [
        kind
        for kind in names
        if inspect.isclass(kind)
        and not (inspect.isabstract(kind) or getattr(kind, "_is_protocol", False))
        and not issubclass(kind, Exception | Enum | tuple)
    ]


def test_classes_can_be_used_from_their_docstrings():
    kinds = constructed()
    assert len(kinds) > 90
    lacking = []
    for kind in kinds:
        text = inspect.getdoc(kind) or ""
        arguments = [
            name
            for name, argument in inspect.signature(kind).parameters.items()
            if argument.kind.name[:3] != "VAR" and name[0] != "_"
        ]
        if "Arguments are those of" in text:
            arguments = []
        lacking += [
            f"{kind.__name__}: {name}"
            for name in arguments
            if not re.search(rf"(?<!\w){name}\b", text)
        ]
        if ">>>" not in text:
            lacking.append(f"{kind.__name__} has no example")
    assert not lacking


@pytest.mark.parametrize("line", ["Return the sum of both.", "Returns it.", ""])
def test_a_docstring_that_does_not_say_it_is_found(tmp_path, line):
    path = tmp_path / "stray.py"
    path.write_text(f'"""A file that has one function."""\ndef f():\n    """{line}"""\n')
    assert [says_what_is_done(node, line) for _, node, line in docstrings(path)] == [True, False]


def code_lines(node: ast.FunctionDef) -> int:
    """How many lines a function has, its docstring not counted."""
    lines = node.end_lineno - node.lineno + 1  # pyright: ignore[reportOptionalOperand]
    first = node.body[0]
    return lines - (first.end_lineno - first.lineno + 1 if ast.get_docstring(node) else 0)  # pyright: ignore[reportOptionalOperand]


def test_files_and_functions_are_short():
    for path in SOURCE.rglob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) <= 500, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert code_lines(node) <= 60, f"{path}: {node.name}"


def clean(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_import_needs_torch_numpy_and_safetensors_alone():
    """Every other installed distribution is hidden, but for what torch itself imports."""
    script = """
import sys
import torch, numpy, safetensors, safetensors.torch
before = set(sys.modules)
from isinglass import *
assert "isinglass.energies" in sys.modules
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(new - sys.stdlib_module_names - {"isinglass"}))
"""
    assert clean(script) == "[]"


def test_annotations_are_inert_without_jaxtyping():
    script = """
import sys
from isinglass import *
assert "jaxtyping" not in sys.modules and "beartype" not in sys.modules
from isinglass._support.typing import Float
Float[int, "a b"]
print("inert")
"""
    assert clean(script) == "inert"


@pytest.mark.slow
def test_vmap_and_compile():
    script = """
import torch, isinglass as ig
from isinglass.analysis.metastability import classify
memory = ig.ModernHopfield(torch.randn(4, 3).double(), beta=2.0)
states = torch.randn(5, 3).double()
torch.testing.assert_close(torch.vmap(memory)(states), memory(states))
subsets = ig.SubsetHopfield(memory.patterns, 2.0, subset=2)
learned = ig.ModernHopfield(memory.patterns, 2.0, learn_beta=True, constants=True)
kinds = lambda states: classify(memory.association(states))
deep = ig.DeepEnergy(torch.nn.Linear(3, 1), 3).double()
for call in (memory, learned, learned.cccp_update, subsets, kinds, deep):
    compiled = torch.compile(call, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(states), call(states))
classifier, labels = ig.DenseClassifier(3, 2, 4).double(), torch.tensor([0, 1, 0, 1, 1])
compiled = torch.compile(classifier.loss, backend="eager", fullgraph=True)
torch.testing.assert_close(compiled(states, labels), classifier.loss(states, labels))
machine = ig.RBM(ig.Bernoulli(3), ig.Bernoulli(2)).double()
bits = (states > 0).double()
loss = torch.compile(machine.free_energy, backend="eager")(bits)
torch.testing.assert_close(loss, machine.free_energy(bits))
torch.testing.assert_close(torch.vmap(machine.free_energy)(bits), machine.free_energy(bits))
tokens = torch.randn(2, 3, 5, 4)
attention = ig.nn.StochasticAttention(4, 2, draws=2, batch_first=True)
compiled = torch.compile(attention, backend="eager", fullgraph=True)
for draws in (1, 64, None):
    attention.draws = draws
    for inside in (torch.enable_grad(), torch.no_grad()):
        with inside:
            drawn = compiled(tokens[0], tokens[0], tokens[0], is_causal=True, need_weights=False)
            assert drawn[0].shape == (3, 5, 4)
many = torch.vmap(lambda x: attention(x, x, x)[0])(tokens)
torch.testing.assert_close(many[1], attention(*[tokens[1]] * 3)[0])
print("same")
"""
    assert clean(script) == "same"


@pytest.mark.slow
def test_wrong_types_at_the_doors_get_named_errors():
    """Without the type checker of the tests, as users have it."""
    script = """
import numpy as np, torch, isinglass as ig
from isinglass.learning import em_step
memory = ig.ModernHopfield(torch.eye(3))
machine = ig.HopfieldBoltzmann(ig.Spin(3), 2)
row = torch.ones(1, 3)
wrong = [
    lambda: ig.ModernHopfield([[1.0, -1.0]]),
    lambda: ig.ClassicalHopfield(np.ones((2, 3))),
    lambda: ig.ClassicalHopfield(row, ig.energies.Hebb),
    lambda: memory.recall([1.0, 0.0, 0.0]),
    lambda: machine.log_prob(np.ones((1, 3))),
    lambda: em_step(machine, [[1.0] * 3]),
    lambda: em_step(machine, torch.ones(3)),
    lambda: em_step(ig.RBM(ig.Bernoulli(3), ig.Bernoulli(2)), row),
    lambda: machine.conditional(row, None),
    lambda: machine.conditional(row, [True] * 3),
    lambda: ig.ModernHopfield(torch.eye(3), beta="8"),
    lambda: ig.ModernHopfield(torch.eye(3), beta=None),
    lambda: ig.RBM(4, 3),
    lambda: ig.HopfieldBoltzmann(ig.Spin, 2),
    lambda: ig.save(torch.nn.Linear(2, 2), "never"),
    lambda: ig.Harmonium([ig.Spin], []),
    lambda: ig.Mixed([ig.Spin]),
    lambda: ig.DeepBoltzmann([ig.Spin(2), 3]),
    lambda: ig.impute(ig.RBM(ig.Bernoulli(3), ig.Bernoulli(2)), row, [True] * 3),
    lambda: ig.PatternMixture(ig.Spin(3), torch.zeros(2), torch.zeros(3, 3)),
    lambda: memory.recall(row, tolerance="a"),
    lambda: memory.recall(row, kernel=ig.CCCP),
    lambda: ig.run(ig.BlockGibbs, memory, row, steps=1, temperature=1.0),
    lambda: ig.nn.stochastic_attention(row, row, row, draws=2.5),
    lambda: ig.nn.stochastic_attention(row, row, row, mask=1),
    lambda: memory.attend(torch.relu),
    lambda: ig.energies.RetrievalLayer(ig.ClassicalHopfield(torch.ones(2, 3))),
    lambda: ig.nn.stochastic_attention(row, row, row, gradient="none"),
    lambda: ig.nn.StochasticAttention(4, 2, draws=1.5),
    lambda: ig.nn.StochasticAttention(4, 2, gradient="none"),
    lambda: ig.nn.StochasticAttention.from_attention(torch.nn.Linear(2, 2)),
    lambda: ig.nn.StochasticAttention(3, 1)(row, row, [[1.0] * 3]),
    lambda: ig.nn.StochasticAttention(3, 1)(row, row, row, attn_mask=[[True]]),
]
for number, call in enumerate(wrong):
    try:
        call()
    except ig.IsinglassError as error:
        assert error.remedy
    else:
        raise AssertionError(number)
assert memory.recall(row, max_steps=np.int64(2)).steps <= 2
print("named")
"""
    assert clean(script) == "named"


def test_version_is_the_distribution_s():
    assert importlib.metadata.version("isinglass") == ig.__version__
    assert ig.__version__ in (SOURCE.parents[1] / "CHANGELOG.md").read_text()


def test_all_names_exist():
    for name in ig.__all__:
        assert hasattr(ig, name)


@pytest.mark.parametrize(
    "kind",
    [k for k in vars(errors).values() if isinstance(k, type) and k.__module__ == errors.__name__],
)
def test_errors_say_operation_found_and_remedy(kind):
    error = kind("found that", "Do the other", operation="doing this")
    assert isinstance(error, errors.IsinglassError)
    assert str(error) == "doing this: found that. Do the other"
    assert (error.operation, error.found, error.remedy) == (
        "doing this",
        "found that",
        "Do the other",
    )
