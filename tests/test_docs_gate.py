"""The documentation is built as ``.ci/run`` builds it: what a reader would miss fails the build."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mkdocs.utils import yaml_load

ROOT = Path(__file__).parents[1]


def gate_flags() -> list[str]:
    """The options of ``mkdocs build`` in ``.ci/run``, but for where the site goes."""
    (line,) = re.findall(r"\.venv/bin/mkdocs build (.*)", (ROOT / ".ci/run").read_text())
    flags = shlex.split(line)
    at = flags.index("--site-dir")
    return flags[:at] + flags[at + 2 :]


def build(folder: Path, text: str, nav: list[str]) -> subprocess.CompletedProcess[str]:
    """Build two pages under the project's own rules of validation."""
    docs = folder / "docs"
    docs.mkdir()
    (docs / "index.md").write_text(text)
    (docs / "other.md").write_text("# Other\n\n## Part\n")
    with (ROOT / "mkdocs.yml").open("rb") as file:
        rules = yaml_load(file)["validation"]
    settings = {"site_name": "gate", "nav": nav, "plugins": [], "validation": rules}
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(settings))
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", *gate_flags()],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_sound_pages_are_built(tmp_path):
    done = build(tmp_path, "# Start\n\n[other](other.md#part)\n", ["index.md", "other.md"])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site/other/index.html").exists()


@pytest.mark.parametrize(
    ("text", "nav", "said"),
    [
        ("[page](gone.md)", ["index.md", "other.md"], "'gone.md'"),
        ("[part](other.md#gone)", ["index.md", "other.md"], "'#gone'"),
        ("[part](#gone)", ["index.md", "other.md"], "'#gone'"),
        ("![picture](gone.svg)", ["index.md", "other.md"], "'gone.svg'"),
        ("[absolute](/other/)", ["index.md", "other.md"], "'/other/'"),
        ("[other](other.md)", ["index.md"], "other.md"),
        ("[other](other.md)", ["index.md", "other.md", "gone.md"], "'gone.md'"),
    ],
    ids=["page", "anchor", "own-anchor", "picture", "absolute", "page-left-out", "nav"],
)
def test_what_is_broken_fails(tmp_path, text, nav, said):
    done = build(tmp_path, f"# Start\n\n{text}\n", nav)
    assert done.returncode != 0
    assert said in re.sub(r"\s+", " ", done.stderr)
