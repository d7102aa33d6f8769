"""Command lines made wrong by a seed: a word of them, or the file they read."""

from pathlib import Path

import numpy as np
from PIL import Image

from isinglass.cli.app import run

WORDS = [
    "", " ", "-1", "0", "2.5", "1e4", "1e400", "nan", "inf", "99999999999999999999", "x",
    "é\udce9", "-",
    "--", "--out", "--seed", "[bold]", "[/]", "a/b", "/", ".", "..", "/dev/null", "absent.csv",
    "table.csv",
    "images", "bits.npy", "x.png", "name=1", "gamma=nan", "memories=0", "=", "a=b=c", "28x28",
    "0x0",
    "-1x3", "%s", "{}", "\n", "a" * 300, "CartPole-v1", "isinglass/Parity-v0", "tests:None",
    "os:system",
]  # fmt: skip
LINES = [
    "imagine table.csv --impute --memories 2 --steps 2 --out out.csv --force",
    "imagine table.csv --sample 3 --memories 2 --steps 2 --seed 1 --out out.csv --force --json",
    "imagine bits.npy --sample 2 --memories 2 --image 2x3 --out out.npy --force",
    "imagine images --sample 2 --memories 1 --size 4 --out out.npy --force --quiet",
    "imagine table.csv --impute --model kept.safetensors --how draw --out out.csv --force",
    "remember table.csv --cue cues.csv --out out.csv --beta 2.0 --force",
    "remember images --cue images/0.png --hide lower --size 6 --out done.png --force",
    "recall bits.npy --cue bits.npy --out out.npy --force --json",
    "act isinglass/Parity-v0 --steps 3 --peers none --evaluate 1 --out run --env-set blocks=2",
    "act --resume run",
    "tour --help",
]  # fmt: skip


def folder_of(path: Path) -> None:
    """Writes a table, cues, an array and images."""
    rng = np.random.default_rng(0)
    rows = [
        f"{a:.2f},{b},{'red' if a > b else 'blue'}" for a, b in rng.integers(0, 9, (12, 2)) + 0.5
    ]
    (path / "table.csv").write_text("\n".join(["size,count,color", *rows]) + "\n")
    (path / "cues.csv").write_text("size,count,color\n3.5,,red\n,2.5,\n")
    np.save(path / "bits.npy", (rng.random((12, 6)) < 0.5).astype(float))
    (path / "images").mkdir(exist_ok=True)
    for number in range(4):
        pixels = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path / f"images/{number}.png")


def _damaged(path: Path, rng: np.random.Generator) -> None:
    """Cuts a file, changes bytes of it, or puts something else in its place."""
    whole = path.read_bytes()
    kind = rng.integers(5)
    if kind == 0:
        path.write_bytes(whole[: rng.integers(len(whole))])
    elif kind == 1:
        bytes_ = np.frombuffer(whole, np.uint8).copy()
        bytes_[rng.integers(0, len(whole), 4)] = rng.integers(0, 256, 4, dtype=np.uint8)
        path.write_bytes(bytes_.tobytes())
    elif kind == 2:
        path.write_bytes(b"")
    elif kind == 3:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(whole.replace(b".", b",").replace(b"\n", b"\r"))


def command(seed: int, number: int) -> tuple[list[str], np.random.Generator]:
    """Returns a command line with a word put in, taken out, doubled or replaced."""
    rng = np.random.default_rng((seed, number))
    words = LINES[number % len(LINES)].split()
    for _ in range(rng.integers(0, 3)):
        place, word = int(rng.integers(1, len(words))), WORDS[rng.integers(len(WORDS))]
        kind = rng.integers(4)
        words[place : place + (kind != 0)] = [[word], [], [words[place]] * 2, [word]][kind]
        words = words if len(words) > 1 else [*words, word]
    return words, rng


def fault(path: Path, seed: int, number: int, capsys) -> str | None:
    """Runs a command line in a folder; returns what is wrong with how it ended."""
    words, rng = command(seed, number)
    folder_of(path)
    files = sorted(file for file in path.rglob("*") if file.is_file() and "run" not in file.parts)
    if rng.random() < 0.5:
        _damaged(files[rng.integers(len(files))], rng)
    status = run(words)
    printed = capsys.readouterr()
    if status in (0, 1, 2) and not (
        "Traceback" in printed.err or "isinglass: unexpected" in printed.err
    ):
        return None
    return f"{words}: status {status}, {printed.err[-300:]}"
