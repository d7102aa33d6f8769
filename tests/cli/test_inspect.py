"""``isinglass inspect``: a page, a table and JSON of a model in a folder; nothing goes online."""

import json
import socket

import pytest
import torch

from isinglass.cli import run
from tests.seeds import SEED

transformers = pytest.importorskip("transformers", reason="needs transformers")
tokenizers = pytest.importorskip("tokenizers", reason="needs tokenizers")

WORDS = ["the", "dog", "saw", "a", "red", "ball", "and", "the", "cat", "saw", "the", "dog"]


def save(folder, **sizes):
    """A Llama of random weights with a tokenizer of words."""
    torch.manual_seed(SEED)
    shared = {"vocab_size": 20, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2,
              "num_attention_heads": 2, "max_position_embeddings": 64, "bos_token_id": 1,
              "eos_token_id": 2}  # fmt: skip
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**shared | sizes))
    model.save_pretrained(folder)
    vocabulary = {word: at for at, word in enumerate(["[UNK]", *sorted(set(WORDS))])}
    words = tokenizers.Tokenizer(
        tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]")  # noqa: S106
    )
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model and a text; whoever opens a connection fails."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "model")
    (tmp_path / "text.txt").write_text(" ".join(WORDS * 4))
    return tmp_path


def test_a_page_a_table_and_json(folder, capsys):
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    asked = ["inspect", "model", "--text", "text.txt", "-o", "page.html", "--table", "t.csv"]
    assert run([*asked, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["tokens"] == 48
    assert said["layers"] == 2
    assert sum(said["classes"].values()) == len(said["table"]) == said["heads"] == 4
    page = (folder / "page.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "http" not in page.replace("http-equiv", "")
    assert len((folder / "t.csv").read_text().splitlines()) == 5
    assert run(asked) == 1  # there already
    assert "exists" in capsys.readouterr().err
    assert run([*asked, "--force", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_a_text_that_is_too_long_is_cut_and_it_is_said(folder, capsys):
    (folder / "text.txt").write_text(" ".join(WORDS * 10))
    assert run(["inspect", "model", "--text", "text.txt"]) == 0
    said = capsys.readouterr().out
    assert "The text has 120 tokens: the first 64 are read" in said
    assert "LlamaForCausalLM: 4 heads in 2 layers, 64 tokens" in said


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["no/model", "--text", "text.txt"], 1, "hf download no/model"),
        (["./none", "--text", "text.txt"], 1, "there is no such folder"),
        ([".", "--text", "text.txt"], 1, "no config.json"),
        (["model", "--text", "none.txt"], 1, "none.txt"),
        (["model", "--text", "empty.txt"], 1, "it is empty"),
        (["model", "--text", "bytes.txt"], 1, "no text in UTF-8"),
        (["model", "--text", "text.txt", "--tokens", "65"], 2, "64 positions"),
        (["model", "--text", "text.txt", "--query", "48"], 2, "48 tokens"),
        (["model", "--text", "text.txt", "-o", "page.pdf"], 2, "page.html"),
        (["strange", "--text", "text.txt"], 2, "does not know"),
        (["torn", "--text", "text.txt"], 1, "weights cannot be read"),
        (["hub:a/b/c", "--text", "text.txt"], 2, "hub:OWNER/NAME"),
    ],
)
def test_bad_input_is_said_in_a_line(folder, capsys, arguments, status, said):
    (folder / "empty.txt").write_text(" \n")
    (folder / "bytes.txt").write_bytes(b"\xff\xfe\xff")
    for name in ("strange", "torn"):
        (folder / name).mkdir()
    (folder / "strange" / "config.json").write_text('{"model_type": "of_another_world"}')
    (folder / "torn" / "config.json").write_text((folder / "model" / "config.json").read_text())
    (folder / "torn" / "model.safetensors").write_bytes(b"torn")
    assert run(["inspect", *arguments]) == status
    err = " ".join(capsys.readouterr().err.split())
    assert said in err
    assert "Traceback" not in err
