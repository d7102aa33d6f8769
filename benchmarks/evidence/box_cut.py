"""Objects cut out of photographs, known by nothing but a box around each.

Every line across the box meets the object somewhere, lines outside it nowhere: rows and columns of
superpixels are bags, and a label for each bag is all there is to learn from (MILCut: Wu et al.
2014, CVPR). What is asked afterwards is each superpixel of the box by itself. Beside the box,
GrabCut (Rother et al. 2004, by OpenCV), and a support vector machine that takes every superpixel of
the box for a part of the object. Measured is intersection over union with outlines that
``box_cut_objects`` holds. Needs the extras images and, for GrabCut, peers. Prints a table, draws a
picture; run it again to go on after a stop.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import ndimage
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks.evidence.box_cut_objects import OBJECTS, Scene, scene
from benchmarks.evidence.cache import Cache
from isinglass._support.optional import require_extra
from isinglass._support.palette import BLUE
from isinglass._support.typing import Bool
from isinglass.integrations.sklearn import HopfieldPoolingClassifier

Mask = Bool[np.ndarray, "height width"]
Record = dict[str, Any]
LINES = 20  # rows, and columns, that become bags, about: one a row of superpixels
CHOICES = {  # settings beside the default, chosen for an object on those of the other photographs
    "default": {},
    "scaling 1": {"scaling": 1.0},
    "dropout 0": {"dropout": 0.0},
}


def bags_of(asked: Scene) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns bags of superpixels, ``(superpixels, features)`` each, and whether one is positive.

    Where a row or a column crosses the box, what it crosses within is a positive bag and what it
    crosses outside is a negative one.
    """
    found: dict[tuple[bool, bytes], np.ndarray] = {}
    outside = ~asked.inside
    for names, away in (
        (asked.superpixels, outside), (asked.superpixels.T, outside.T),
    ):  # fmt: skip
        for line in range(0, len(names), max(1, len(names) // LINES)):
            for positive in (True, False):
                members = np.unique(names[line][away[line] != positive])
                if len(members):
                    found[positive, members.tobytes()] = members
    labels = np.array([positive for positive, _ in found], dtype=int)
    return [asked.features[members] for members in found.values()], labels


def by_bags(asked: Scene, seed: int, **settings: Any) -> Mask:
    """Cuts out what the pooling classifier, learned from lines, says of superpixels alone."""
    bags, labels = bags_of(asked)
    learned = HopfieldPoolingClassifier(random_state=seed, **settings).fit(bags, labels)
    proba = learned.predict_proba([row[None] for row in asked.features])[:, 1]
    return asked.inside & (proba > 0.5)[asked.superpixels]


def by_superpixels(asked: Scene) -> Mask:
    """Cuts out what a support vector machine, learned from box and outside, takes for the box."""
    share = np.bincount(asked.superpixels.ravel(), asked.inside.ravel())
    share = share / np.bincount(asked.superpixels.ravel())
    model = make_pipeline(StandardScaler(), SVC(class_weight="balanced"))
    named = model.fit(asked.features, share > 0.5).predict(asked.features)
    return asked.inside & named[asked.superpixels]


def by_grabcut(asked: Scene, seed: int, updates: int = 5) -> Mask:
    """Cuts out by GrabCut, mixtures of five Gaussians and a graph cut in turn."""
    with require_extra("peers"):
        import cv2
    top, left, bottom, right = asked.box
    cv2.setRNGSeed(seed)
    named = np.zeros(asked.truth.shape, dtype=np.uint8)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(
        np.ascontiguousarray(asked.image[..., ::-1]), named,
        (left, top, right - left, bottom - top), *models, updates, cv2.GC_INIT_WITH_RECT,
    )  # fmt: skip
    return np.isin(named, (cv2.GC_FGD, cv2.GC_PR_FGD))


def cleaned(mask: Mask) -> Mask:
    """Fills holes and keeps the largest piece."""
    pieces, count = ndimage.label(mask)
    if count == 0:
        return mask
    largest = 1 + np.bincount(pieces.ravel())[1:].argmax()
    return ndimage.binary_fill_holes(pieces == largest)


def overlap(mask: Mask, truth: Mask) -> float:
    """Returns intersection over union."""
    return float((mask & truth).sum() / max((mask | truth).sum(), 1))


def best(asked: Scene) -> Mask:
    """Returns the superpixels of which most is object: no choice of superpixels does better."""
    share = np.bincount(asked.superpixels.ravel(), asked.truth.ravel())
    share = share / np.bincount(asked.superpixels.ravel())
    return asked.inside & (share > 0.5)[asked.superpixels]


def methods(seed: int, quick: bool) -> dict[str, Callable[[Scene], Mask]]:
    """Returns what is measured, by name."""
    few = {"n_estimators": 1, "max_iter": 5} if quick else {}
    return {
        "box": lambda asked: asked.inside,
        "superpixels, SVM": by_superpixels,
        "GrabCut": partial(by_grabcut, seed=seed),
        "best superpixels": best,
        **{
            f"bags, {name}": partial(by_bags, seed=seed, **settings, **few)
            for name, settings in CHOICES.items()
        },
    }


def measure(name: str, cut: Callable[[Scene], Mask]) -> Record:
    """Cuts out one object."""
    asked, begin = scene(name), time.process_time()
    mask = cut(asked)
    seconds = time.process_time() - begin
    return {
        "raw": overlap(mask, asked.truth), "cleaned": overlap(cleaned(mask), asked.truth),
        "seconds": seconds, "edges": edges(mask),
    }  # fmt: skip


def edges(mask: Mask) -> list[int]:
    """Returns the places, row by row, where a mask turns from one value to the other."""
    return np.flatnonzero(np.diff(mask.ravel(), prepend=False)).tolist()


def from_edges(places: list[int], shape: tuple[int, ...]) -> Mask:
    """Returns the mask that turns over at the places."""
    turns = np.zeros(int(np.prod(shape)), dtype=int)
    turns[places] = 1
    return (np.cumsum(turns) % 2 == 1).reshape(shape)


def chosen(found: dict[str, Record], name: str) -> str:
    """Returns the setting that is best on the objects of other photographs than this one's."""
    others = [other for other, (image, _) in OBJECTS.items() if image != OBJECTS[name][0]]

    def mean(choice: str) -> float:
        return float(np.mean([found[f"{other}/bags, {choice}"]["cleaned"] for other in others]))

    return max(CHOICES, key=mean)


def as_table(found: dict[str, Record]) -> Table:
    """Builds the table: each object, and the mean, cleaned and, in parentheses, raw."""
    complete = all(f"{name}/bags, {choice}" in found for name in OBJECTS for choice in CHOICES)
    kinds = ["box", "superpixels, SVM", "GrabCut", "bags, default"]
    kinds += ["bags, chosen"] * complete + ["best superpixels"]
    table = Table("object", *kinds, "chosen", title="intersection over union, cleaned (raw)")
    rows: list[list[Record]] = []
    for name in OBJECTS:
        setting = chosen(found, name) if complete else ""
        keys = [f"{name}/" + kind.replace("chosen", setting) for kind in kinds]
        if all(key in found for key in keys):
            rows.append([found[key] for key in keys])
            table.add_row(name, *(written([run]) for run in rows[-1]), setting)
    table.add_row("mean", *(written(column) for column in zip(*rows, strict=True)), "")
    return table


def written(runs: Sequence[Record]) -> str:
    """Writes the mean of both measures."""
    cleaned_, raw = (np.mean([run[which] for run in runs]) for which in ("cleaned", "raw"))
    return f"{cleaned_:.3f} ({raw:.3f})"


def picture(found: dict[str, Record], path: Path) -> None:
    """Draws every object as it was cut out by default, beside GrabCut."""
    from matplotlib import pyplot as plt
    from skimage.segmentation import mark_boundaries

    figure, axes = plt.subplots(3, len(OBJECTS), figsize=(1.1 * len(OBJECTS), 4), squeeze=False)
    for column, name in zip(axes.T, OBJECTS, strict=True):
        asked = scene(name)
        truth = asked.truth.astype(int)
        shown = [mark_boundaries(asked.image, truth, color=(1, 0, 1), mode="thick")]
        faded = 0.75 + asked.image / 255 / 4
        for kind in ("bags, default", "GrabCut"):
            mask = cleaned(from_edges(found[f"{name}/{kind}"]["edges"], asked.truth.shape))
            shown.append(np.where(mask[..., None], asked.image / 255, faded))
        for axis, image in zip(column, shown, strict=True):
            axis.imshow(image)
            axis.set(xticks=[], yticks=[])
        top, left, bottom, right = asked.box
        across, down = [left, right, right, left, left], [top, top, bottom, bottom, top]
        column[0].plot(across, down, color=BLUE, linewidth=0.8)
        column[0].set_title(name, fontsize=7)
    for axis, label in zip(axes[:, 0], ("box, outline", "bags", "GrabCut"), strict=True):
        axis.set_ylabel(label, fontsize=7)
    figure.savefig(path, dpi=150, bbox_inches="tight", pil_kwargs={"optimize": True})


def main() -> None:
    """Measure what is missing, print the table, draw the picture."""
    parser = argparse.ArgumentParser("python -m benchmarks.evidence.box_cut", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("evidence"), help="where results go")
    parser.add_argument("--objects", nargs="+", choices=OBJECTS, default=list(OBJECTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, help="where to draw the segmentations")
    parser.add_argument("--quick", action="store_true", help="few epochs: does it run?")
    given = parser.parse_args()
    torch.set_num_threads(1)
    store = Cache(given.out / f"{'quick-' * given.quick}box_cut-{given.seed}.json")
    cuts = methods(given.seed, given.quick)
    todo = [(kind, name) for kind in cuts for name in given.objects]
    for kind, name in track(todo, description="objects"):
        store.get(f"{name}/{kind}", partial(measure, name, cuts[kind]))
    Console(width=170).print(as_table(store.found))
    if given.picture:
        picture(store.found, given.picture)


if __name__ == "__main__":
    main()
