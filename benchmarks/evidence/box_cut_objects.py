"""Objects on photographs that scikit-image brings, outlined for the measurement of segmentations.

The photographs come without masks. The outlines were drawn for this measurement on enlarged
pictures, once, before any method was run, and are right to about two pixels; places are (x, y) in
pixels from the top left corner.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from skimage import data
from skimage.color import gray2rgb, rgb2lab
from skimage.draw import polygon2mask
from skimage.segmentation import slic

from isinglass._support.typing import Bool, Float, Int

__all__ = ["OBJECTS", "Scene", "scene", "scene_of"]

Places = list[tuple[int, int]]
SUPERPIXELS = 400  # of the part that is looked at
AROUND = 0.5  # of the height and width of the box, on each side, are looked at too
LOOSE = 2  # pixels by which the box is wider than the object, on each side

# Name of the object: the photograph of skimage.data, the outline.
OBJECTS: dict[str, tuple[str, Places]] = {
    "saucer": ("coffee", [
        (180, 70), (165, 78), (140, 97), (118, 118), (102, 140), (90, 163), (82, 185), (77, 205),
        (77, 225), (80, 248), (88, 272), (100, 295), (118, 318), (140, 340), (165, 358),
        (190, 371), (215, 380), (245, 386), (275, 389), (300, 389), (330, 386), (360, 380),
        (390, 370), (415, 356), (435, 340), (452, 320), (465, 298), (473, 275), (478, 250),
        (479, 230), (477, 210), (471, 190), (462, 168), (449, 145), (435, 126), (416, 105),
        (423, 80), (420, 70), (410, 66), (398, 72), (385, 55), (368, 41), (345, 28), (320, 21),
        (295, 17), (270, 18), (245, 23), (222, 32), (203, 44), (190, 57),
    ]),
    "cup": ("coffee", [
        (172, 105), (175, 90), (182, 72), (190, 57), (203, 44), (222, 32), (245, 23), (270, 18),
        (295, 17), (320, 21), (345, 28), (368, 41), (385, 55), (398, 72), (405, 90), (408, 110),
        (407, 130), (403, 150), (398, 165), (390, 190), (380, 212), (372, 230), (360, 240),
        (345, 240), (335, 238), (320, 248), (316, 256), (330, 262), (318, 275), (300, 283),
        (275, 284), (258, 282), (245, 275), (238, 288), (228, 300), (217, 306), (205, 302),
        (197, 292), (195, 280), (200, 268), (208, 252), (214, 238), (205, 228), (195, 213),
        (187, 195), (180, 175), (175, 155), (172, 130),
    ]),
    "rocket": ("rocket", [
        (322, 126), (317, 132), (313, 140), (311, 150), (310, 160), (311, 170), (311, 178),
        (314, 182), (314, 240), (313, 300), (312, 360), (312, 405), (331, 405), (331, 360),
        (330, 300), (330, 240), (330, 182), (332, 178), (333, 165), (333, 150), (331, 140),
        (327, 132),
    ]),
    "cameraman": ("camera", [
        (0, 258), (12, 245), (20, 232), (30, 220), (38, 205), (52, 180), (62, 160), (75, 145),
        (90, 134), (110, 127), (130, 123), (145, 110), (158, 105), (163, 100), (170, 85),
        (180, 75), (190, 67), (205, 64), (220, 67), (238, 74), (252, 85), (262, 98), (269, 110),
        (270, 120), (268, 130), (255, 132), (252, 140), (253, 150), (254, 165), (250, 172),
        (246, 180), (240, 195), (240, 205), (245, 207), (242, 220), (240, 228), (248, 246),
        (258, 232), (268, 218), (275, 205), (285, 205), (296, 212), (298, 190), (306, 182),
        (318, 178), (322, 168), (330, 172), (331, 190), (328, 205), (315, 222), (302, 235),
        (295, 240), (285, 240), (275, 235), (285, 255), (300, 260), (304, 272), (296, 285),
        (280, 295), (262, 306), (245, 312), (230, 307), (215, 300), (206, 293), (195, 315),
        (180, 338), (160, 360), (140, 382), (148, 420), (150, 470), (150, 511), (137, 511),
        (125, 488), (112, 465), (99, 447), (95, 475), (90, 511), (0, 511),
    ]),
    "head": ("astronaut", [
        (192, 30), (205, 22), (220, 18), (231, 15), (245, 16), (260, 22), (275, 29), (287, 40),
        (294, 52), (298, 65), (300, 78), (301, 90), (299, 102), (293, 113), (284, 122), (277, 130),
        (271, 136), (268, 136), (266, 145), (262, 153), (257, 165), (254, 175), (253, 185),
        (238, 190), (225, 188), (210, 186), (195, 184), (187, 178), (186, 165), (184, 150),
        (182, 132), (177, 130), (172, 124), (165, 115), (157, 105), (154, 95), (153, 80),
        (153, 68), (156, 58), (165, 48), (178, 40), (188, 35),
    ]),
    "shuttle": ("astronaut", [
        (400, 0), (396, 15), (395, 40), (393, 48), (387, 42), (382, 52), (380, 65), (380, 100),
        (378, 115), (377, 180), (368, 192), (357, 205), (354, 222), (375, 228), (372, 245),
        (367, 262), (368, 272), (378, 262), (388, 254), (392, 268), (405, 268), (410, 258),
        (416, 240), (426, 240), (437, 240), (434, 258), (440, 270), (455, 270), (459, 262),
        (456, 250), (455, 228), (455, 210), (453, 190), (454, 100), (454, 70), (449, 52),
        (444, 40), (438, 46), (436, 30), (432, 15), (425, 0),
    ]),
    "left eye": ("chelsea", [
        (135, 110), (136, 122), (141, 131), (150, 139), (162, 144), (178, 147), (192, 146),
        (203, 141), (210, 135), (211, 125), (207, 113), (202, 104), (195, 97), (185, 91),
        (172, 86), (158, 86), (147, 90), (139, 97),
    ]),
    "right eye": ("chelsea", [
        (295, 140), (295, 150), (298, 160), (306, 163), (316, 163), (326, 159), (335, 151),
        (341, 140), (343, 128), (342, 118), (338, 111), (328, 109), (318, 112), (308, 119),
        (300, 128),
    ]),
    "large coin": ("coins", [
        (346, 155), (360, 158), (372, 168), (378, 182), (377, 198), (369, 210), (357, 216),
        (343, 217), (330, 212), (320, 202), (315, 190), (316, 175), (323, 164), (334, 157),
    ]),
    "dark coin": ("coins", [
        (46, 232), (58, 235), (68, 244), (73, 256), (72, 269), (66, 280), (55, 286), (42, 287),
        (30, 283), (22, 274), (18, 262), (19, 250), (26, 240), (36, 234),
    ]),
    "small coin": ("coins", [
        (101, 174), (112, 176), (120, 184), (123, 194), (121, 205), (114, 213), (104, 216),
        (93, 214), (84, 207), (80, 197), (82, 186), (90, 177),
    ]),
}  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """A part of a photograph, the box around an object in it, and the object.

    Attributes:
        image: ``(height, width, 3)``, of ``uint8``.
        truth: True at the object, ``(height, width)``.
        box: First row, first column, the row and the column behind the last.
        superpixels: Number of the superpixel of each pixel, from 0, ``(height, width)``.
        features: Mean and deviation of L, a and b of each superpixel, ``(superpixels, 6)``.
    """

    image: np.ndarray
    truth: Bool[np.ndarray, "height width"]
    box: tuple[int, int, int, int]
    superpixels: Int[np.ndarray, "height width"]
    features: Float[np.ndarray, "superpixels features"]

    @property
    def inside(self) -> Bool[np.ndarray, "height width"]:
        """True in the box."""
        top, left, bottom, right = self.box
        found = np.zeros(self.truth.shape, dtype=bool)
        found[top:bottom, left:right] = True
        return found


def scene(name: str) -> Scene:
    """Returns one of :data:`OBJECTS`."""
    photograph, outline = OBJECTS[name]
    image = getattr(data, photograph)()
    image = gray2rgb(image) if image.ndim == 2 else image
    return scene_of(image, polygon2mask(image.shape[:2], np.array(outline)[:, ::-1]))


def scene_of(image: np.ndarray, truth: Bool[np.ndarray, "height width"]) -> Scene:
    """Cuts out what is looked at of a photograph: the box around the object and what is near.

    Args:
        image: ``(height, width, 3)``, of ``uint8``.
        truth: True at the object.
    """
    rows, columns = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    box, part = [], []
    for places, size in zip((rows, columns), truth.shape, strict=True):
        low, high = max(places[0] - LOOSE, 0), min(places[-1] + 1 + LOOSE, size)
        around = round(AROUND * (high - low))
        start = max(low - around, 0)
        part.append(slice(start, min(high + around, size)))
        box.append((low - start, high - start))
    (top, bottom), (left, right) = box
    image, truth = image[tuple(part)], truth[tuple(part)]
    superpixels = slic(image, SUPERPIXELS, start_label=0)
    lab, flat = rgb2lab(image).reshape(-1, 3), superpixels.ravel()
    count = np.bincount(flat)
    first, second = (
        np.stack([np.bincount(flat, each) for each in (lab**power).T], -1) / count[:, None]
        for power in (1, 2)
    )
    deviation = np.sqrt(np.maximum(second - first**2, 0))
    box = (int(top), int(left), int(bottom), int(right))
    return Scene(image, truth, box, superpixels, np.concatenate([first, deviation], -1))
