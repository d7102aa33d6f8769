"""The summary has the figures of the pages, and one command runs all experiments."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from benchmarks.evidence import __main__ as program
from benchmarks.evidence import runs
from benchmarks.evidence.experiments import EXPERIMENTS, Experiment, Figure
from benchmarks.evidence.summary import DOCS, PAGE, Row, load, number, replaced

ROWS = load()
NAMES = {experiment.name for experiment in EXPERIMENTS}


def flat(text: str) -> str:
    """A text with its lines and spaces run together, as commands are wrapped in the pages."""
    return " ".join(text.replace("\\\n", " ").split())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.experiment}: {row.what}")
def test_every_figure_stands_in_its_page(row):
    text = (DOCS / row.page).read_text()
    held = "\n".join(row.lines)
    assert set(row.lines) <= set(text.splitlines())
    for figure in (row.value, *row.others.values(), *filter(None, [row.asked])):
        # whole, not a part of another number
        assert re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d]|[.,]\d)", held), figure
    assert flat(row.command) in flat(text)


def test_the_page_and_its_picture_are_of_the_committed_figures():
    text = PAGE.read_text()
    assert text == replaced(text, ROWS)
    picture = (DOCS / "pictures/evidence.svg").read_text()
    for row in ROWS:
        if row.share:
            assert f"<!-- {row.experiment.replace('_', ' ')}: {row.what} -->" in picture


def test_what_is_not_as_good_as_asked_is_missed():
    def row(value: str, asked: str, better: str) -> Row:
        return Row("e", "p", "c", "w", value, [], {}, asked, "target", better)

    assert row("−141.75", "−142.6", "higher").met
    assert not row("−143", "−142.6", "higher").met
    assert row("1.50", "1.50", "lower").met
    assert not row("5,050", "2,000", "lower").met
    assert row("3", "", "higher").met is None
    assert row("5,050", "2,000", "lower").verdict == "≤ 2,000, target: **missed**"
    assert number("−1,156") == -1156


def test_every_experiment_is_a_module_that_can_be_quick():
    assert len(NAMES) == len(EXPERIMENTS)
    assert {row.experiment for row in ROWS} <= NAMES
    folder = Path(program.__file__).parent
    for experiment in EXPERIMENTS:
        assert find_spec(f"benchmarks.evidence.{experiment.name}") is not None
        file = folder / f"{experiment.name}.py"
        if file.exists():
            assert "--quick" in experiment.quick
            assert "--quick" in file.read_text() or "Grid(" in file.read_text()


def test_all_quick_runs_fit_into_a_quarter_of_an_hour():
    assert sum(experiment.seconds for experiment in EXPERIMENTS) <= 15 * 60


def test_figures_are_means_over_what_the_keys_match(tmp_path):
    (tmp_path / "quick-a-0.json").write_text('{"run": {"mean": 0.5, "done": true}}')
    (tmp_path / "quick-a-1.json").write_text('{"run": {"mean": 0.7}}')
    (tmp_path / "b.json").write_text('{"x 1": {"y": [2, 9]}, "x 2": {"y": [4, 9]}}')
    assert Figure("", "*a-*.json", ("run", "mean"), 100).read(tmp_path) == pytest.approx(60)
    assert Figure("", "b.json", ("x *", "y", "0")).read(tmp_path) == 3
    assert Figure("", "b.json", ("x 1", "y", "*")).read(tmp_path) == 5.5
    assert Figure("", "b.json", ("z",)).read(tmp_path) is None
    assert Figure("", "*a-0.json", ("run", "done")).read(tmp_path) is None


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float | None]]:
    """What was run, and with which limit: ``slow`` is cut, ``wrong`` fails, all else is done."""
    seen: list[tuple[str, float | None]] = []

    def run(experiment, arguments, out, limit):
        seen.append((experiment.name, limit))
        became = {"slow": "cut", "wrong": "failed"}.get(experiment.name, "done")
        return {"found": became, "seconds": 1.0}

    monkeypatch.setattr(runs, "run_one", run)
    return seen


def test_what_is_done_is_not_run_again_and_what_was_cut_is(ran, tmp_path):
    asked = [Experiment(name, seconds=7) for name in ("good", "slow", "wrong")]
    for first in ("done", "kept"):
        found = runs.run_all(asked, tmp_path, quick=True, minutes=15)
        assert [record["found"] for record in found.values()] == [first, "cut", "failed"]
        assert found["good"]["seconds"] == 1
    assert [name for name, _ in ran] == ["good", "slow", "wrong", "slow", "wrong"]
    assert {limit for _, limit in ran} == {7}
    assert list(json.loads((tmp_path / "quick-runs.json").read_text())) == ["good"]
    runs.run_all(asked[:1], tmp_path, quick=False, minutes=0)  # a quick run is no whole run
    assert ran[-1] == ("good", None)


def test_time_data_and_packages_that_are_lacking_are_named(ran, tmp_path, monkeypatch):
    monkeypatch.setenv("ISINGLASS_DATA", str(tmp_path))
    asked = [
        Experiment("one", packages=("no_such_package",), data=("no_such_data",)), Experiment("two")
    ]  # fmt: skip
    found = runs.run_all(asked, tmp_path, quick=True, minutes=1e-6)
    remedy = "(set ISINGLASS_DATA to the folder that has it)"
    needs = f"needs packages: no_such_package; data: no_such_data {remedy}"
    assert found["one"]["found"] == needs
    assert found["two"]["found"] == "no time left"
    assert not ran
    runs.run_all(asked[1:], tmp_path, quick=False, minutes=0)
    assert ran == [("two", None)]


def test_an_empty_folder_of_data_is_lacking_and_a_full_one_is_not(tmp_path):
    asked = Experiment("one", data=("mil", "text"))
    for name in asked.data:
        (tmp_path / name).mkdir()
    needs = "data: mil, text (set ISINGLASS_DATA to the folder that has them)"
    assert runs.lacking(asked, tmp_path) == runs.lacking(asked, None) == needs
    (tmp_path / "mil" / "tiger.npz").touch()
    assert runs.lacking(asked, tmp_path).startswith("data: text (")
    (tmp_path / "text" / "a.txt").touch()
    assert not runs.lacking(asked, tmp_path)


def test_the_list_says_what_each_takes_needs_and_where_it_is_written(capsys):
    assert program.main(["--list", "--only", "drugs", "findings", "ising"]) == 0
    found = [re.split(r"\s*│\s*", line)[1:-1] for line in capsys.readouterr().out.splitlines()]
    assert [row for row in found if row] == [
        ["drugs", "30", "moleculenet", "rdkit", "drugs.md"],
        ["ising", "10", "–", "–", "–"],
        ["findings", "20", "stories260K", "transformers", "findings.md"],
    ]
    for experiment in EXPERIMENTS:
        if experiment.page:
            assert experiment.name not in {row.experiment for row in ROWS}
            assert f"evidence.{experiment.name}" in (DOCS / experiment.page).read_text()


def test_what_was_left_out_is_counted_and_help_names_the_data(ran, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("ISINGLASS_DATA", raising=False)
    assert program.main(["--quick", "--only", "bags", "--out", str(tmp_path)]) == 0
    needs = "| bags | needs data: mil (set ISINGLASS_DATA to the folder that has it) | 0 |"
    assert needs in (tmp_path / "evidence.md").read_text()
    assert "0 of 1 done, 1 not run, 0 cut, 0 failed; written" in capsys.readouterr().out
    assert not ran
    for before in ("", " (1 kept from before)"):
        program.main(["--quick", "--only", "bags", "clusters", "--out", str(tmp_path)])
        assert f"1 of 2 done{before}, 1 not run, 0 cut, 0" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        program.main(["--help"])
    assert "ISINGLASS_DATA" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("quick-runs.json", '{"clusters": {"fou', "it is no JSON"),
        ("quick-runs.json", "[]", "it holds no records"),
        ("quick-runs.json", '{"clusters": 3}', "it has no seconds of clusters"),
        ("clusters/clusters.json", "", "it is no JSON"),
    ],
)
def test_a_file_that_was_cut_off_is_named_in_one_line(ran, tmp_path, capsys, name, text, said):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(SystemExit, match="2"):
        program.main(["--quick", "--only", "clusters", "--out", str(tmp_path)])
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"error: reading {path}: {said}" in last
    assert "Delete it" in last
    path.unlink()
    assert program.main(["--quick", "--only", "clusters", "--out", str(tmp_path)]) == 0


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf", "soon"])
def test_a_time_or_folder_that_cannot_be_is_named_in_one_line(ran, tmp_path, capsys, minutes):
    file = tmp_path / "file"
    file.touch()
    for arguments, said in (
        (["--minutes", minutes], f"--minutes: '{minutes}' is no finite number above 0"),
        (["--out", str(file)], f"--out {file} cannot be a folder"),
        (["--out", str(file / "below")], "cannot be a folder"),
    ):
        with pytest.raises(SystemExit, match="2"):
            program.main(["--quick", *arguments])
        assert said in capsys.readouterr().err.splitlines()[-1]
    assert not ran


def test_the_command_writes_what_it_found_beside_the_whole_runs(ran, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "lacking", lambda *_: "")
    folder = tmp_path / "clusters"
    folder.mkdir()
    (folder / "clusters.json").write_text('{"Ising 32 clusters 0": {"time": 8.2}}')
    assert program.main(["--quick", "--only", "clusters", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "evidence.md").read_text()
    assert "| clusters | done | 1 |" in text
    assert "| whole run | others | whole run, asked |" in text  # no verdict on a quick run
    assert ran[0][1] <= 900
    assert PAGE.read_text() == replaced(PAGE.read_text(), ROWS)  # quick figures stay out


@pytest.mark.slow
def test_a_run_is_done_or_cut_and_leaves_a_log(tmp_path):
    found = runs.run_one(Experiment("clusters"), ["--help"], tmp_path, 300)
    assert found["found"] == "done"
    assert "Swendsen" in (tmp_path / "clusters.log").read_text()
    assert runs.run_one(Experiment("clusters"), [], tmp_path, 0.2)["found"] == "cut"
    assert runs.run_one(Experiment("clusters"), ["--nothing"], tmp_path, 300)["found"] == "failed"


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_quick_and_whole_arguments_are_understood(experiment, tmp_path):
    if missing := [name for name in experiment.packages if find_spec(name) is None]:
        pytest.skip(f"needs {', '.join(missing)}")
    # What stands before --help is parsed first.
    for arguments in filter(None, (experiment.quick, experiment.whole)):
        found = runs.run_one(experiment, [*arguments, "--help"], tmp_path, 300)
        assert found["found"] == "done", (tmp_path / f"{experiment.name}.log").read_text()


def test_a_folder_that_cannot_be_written_is_named_in_one_line(tmp_path, monkeypatch, capsys):
    def refused(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(runs.subprocess, "Popen", lambda *_, **__: pytest.fail("was run"))
    (tmp_path / "clusters.log").mkdir()  # of which none can write, not even root
    for change, said in (
        (None, "clusters.log: it cannot be (Is a directory)"),
        ("open", "clusters.log: it cannot be (Permission denied)"),
        ("read_text", "quick-runs.json: it cannot be read (Permission denied)"),
        ("mkdir", "cannot be a folder (Permission denied)"),
    ):
        if change == "read_text":
            (tmp_path / "quick-runs.json").write_text("{}")
        with monkeypatch.context() as patched:
            if change:
                patched.setattr(Path, change, refused)
            with pytest.raises(SystemExit, match="2"):
                program.main(["--quick", "--only", "clusters", "--out", str(tmp_path)])
        last = capsys.readouterr().err.splitlines()[-1]
        assert said in last, change
        assert "error: " in last


def test_data_may_be_named_from_the_folder_that_one_is_in(tmp_path, monkeypatch):
    """The runs are in another folder, that of the project."""
    (tmp_path / "data" / "here").mkdir(parents=True)
    (tmp_path / "data" / "here" / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ISINGLASS_DATA", "data")
    told = "import os; print(os.listdir(os.environ['ISINGLASS_DATA']))"
    popen = runs.subprocess.Popen

    def started(command, **options):
        return popen([command[0], "-c", told], **options)

    monkeypatch.setattr(runs.subprocess, "Popen", started)
    asked = [Experiment("one", data=("here",))]
    found = runs.run_all(asked, Path("out"), quick=True, minutes=1)
    assert found["one"]["found"] == "done"
    assert (tmp_path / "out" / "one.log").read_text() == "['here']\n"
