"""Names in files of format 1, and what they are called today."""

from __future__ import annotations

from typing import Any

__all__ = ["rename"]

#: Classes, by the name that format 1 has for them.
CLASSES = {
    "Bit": "Bernoulli",
    "OneHot": "Categorical",
    "AveragedOneHot": "Multinomial",
    "ReLU": "RectifiedGaussian",
    "EdgeCouplings": "SparseCouplings",
}
#: Kinds of columns of a table: there "Categorical" was the column, not the unit.
COLUMNS = {"Categorical": "CategoricalColumn"}
#: Keys of configurations.
KEYS = {"areas": "layers", "centre": "center"}


def rename(header: dict[str, Any]) -> dict[str, Any]:
    """Returns the header of a format-1 file in the names of this version.

    Only the configuration and the columns of a table are looked at: what else a note holds is the
    user's own. Classes that are not isinglass's carry their module in their name and stay.

    Args:
        header: As read; its checksum is that of the old names, so check it first.

    Examples:
        >>> rename({"class": "RBM", "config": {"areas": [{"kind": "Bit", "size": 2}]}})
        {'class': 'RBM', 'config': {'layers': [{'kind': 'Bernoulli', 'size': 2}]}}
    """
    found = dict(header)
    if "class" in header:
        found["class"] = CLASSES.get(header["class"], header["class"])
        found["config"] = _rename(header["config"], CLASSES)
    note = header.get("note")
    if isinstance(note, dict) and isinstance(note.get("table"), dict):
        columns = _rename(note["table"].get("columns", []), COLUMNS)
        found["note"] = note | {"table": note["table"] | {"columns": columns}}
    return found


def _rename(value: Any, classes: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_rename(item, classes) for item in value]
    if not isinstance(value, dict):
        return value
    config = {KEYS.get(key, key): _rename(item, classes) for key, item in value.items()}
    if isinstance(config.get("kind"), str):
        config["kind"] = classes.get(config["kind"], config["kind"])
    return config
