"""Painted figures of birds, cars, houses and so on, a substitute for stamps.

A figure is determined by its category and number. Its parts are polygons and ellipses in random
colours and proportions, in one of three styles: flat, shaded, or outlined. Its keypoints are known
exactly, since the parts were painted around them.
"""

import zlib
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from souron.data.composing.cutouts import SOLID, Cutout

DRAWN = 352  # pixels a side of the painted figure
KEPT = 176  # pixels of the longer side after downscaling
NUMBERS = 60  # figures of each category in a data set

POINTS = {
    "bird": ("beak", "eye", "tail", "wing tip", "foot", "other foot"),
    "mammal": ("nose", "eye", "tail", "fore foot", "hind foot"),
    "flower": ("centre", "stem end"),
    "fruit": ("stem", "bottom"),
    "vehicle": ("front wheel", "back wheel", "roof"),
    "coin": ("centre",),
    "sign": ("centre", "top"),
    "building": ("roof", "door", "left corner", "right corner"),
    "person": (
        "head",
        "neck",
        "left shoulder",
        "right shoulder",
        "left elbow",
        "right elbow",
        "left hand",
        "right hand",
        "hip",
        "left knee",
        "right knee",
        "left foot",
        "right foot",
    ),
}
JOINED = {  # pairs of keypoints joined by a line when a figure is shown as a skeleton
    "person": ((0, 1), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7), (1, 8), (8, 9), (8, 10), (9, 11), (10, 12))
}

Colour = tuple[int, int, int]
Place = tuple[float, float]


class Pen:
    """A canvas with drawing functions; coordinates are fractions of the side, x to the right, y
    down."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.image = Image.new("RGBA", (DRAWN, DRAWN), (0, 0, 0, 0))
        self.draw = ImageDraw.Draw(self.image)

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def one_of(self, *choices: Colour) -> Colour:
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def ellipse(self, x: float, y: float, across: float, down: float, fill: Colour, turn: float = 0.0) -> None:
        """Draw an ellipse with half axes ``across`` and ``down``, rotated by ``turn`` radians
        clockwise."""
        angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        along, over = across * np.cos(angle), down * np.sin(angle)
        self.polygon(
            [
                (x + a * np.cos(turn) - o * np.sin(turn), y + a * np.sin(turn) + o * np.cos(turn))
                for a, o in zip(along, over, strict=True)
            ],
            fill,
        )

    def polygon(self, places: list[Place], fill: Colour) -> None:
        self.draw.polygon([(x * DRAWN, y * DRAWN) for x, y in places], fill=fill)

    def rectangle(
        self, left: float, top: float, right: float, bottom: float, fill: Colour, round_: float = 0.0
    ) -> None:
        box = [edge * DRAWN for edge in (left, top, right, bottom)]
        self.draw.rounded_rectangle(box, round_ * DRAWN, fill=fill)

    def line(self, places: list[Place], width: float, fill: Colour) -> None:
        """Draw a line with round ends and corners."""
        for (x, y), (u, v) in pairwise(places):
            ends = (x * DRAWN, y * DRAWN, u * DRAWN, v * DRAWN)
            self.draw.line(ends, fill=fill, width=max(1, round(width * DRAWN)))
        for x, y in places:
            self.ellipse(x, y, width / 2, width / 2, fill)


def darker(colour: Colour, share: float) -> Colour:
    red, green, blue = (min(255, round(value * share)) for value in colour)
    return red, green, blue


WHITE, BLACK, GREY = (240, 240, 238), (28, 28, 32), (150, 152, 156)
RED, BLUE, YELLOW, GREEN = (200, 38, 40), (40, 84, 180), (240, 196, 40), (60, 140, 56)
ORANGE, BROWN, PINK, VIOLET = (236, 128, 36), (124, 80, 48), (236, 120, 160), (128, 72, 168)
SAND, TEAL = (214, 178, 120), (36, 140, 146)


def bird(pen: Pen) -> list[Place]:
    body = pen.one_of(BLUE, RED, YELLOW, WHITE, BROWN, TEAL, BLACK, GREEN, ORANGE, GREY)
    wing = darker(body, 0.7) if body != BLACK else GREY
    bill = pen.one_of(ORANGE, YELLOW, (90, 80, 70))
    size, legs = pen.between(0.15, 0.21), pen.between(0.08, 0.22)
    neck = pen.between(0.0, 0.16)
    x, y = 0.46, 0.55
    head_x, head_y = x + 0.19 + neck / 3, y - 0.19 - neck
    tail = (x - 0.38, y + pen.between(-0.14, 0.10))
    feet = [(x - 0.03, y + size * 0.8 + legs), (x + 0.09, y + size * 0.8 + legs)]
    for foot in feet:
        pen.line([(foot[0] - 0.01, y + size * 0.6), foot, (foot[0] + 0.05, foot[1])], 0.022, bill)
    pen.polygon([tail, (tail[0] + 0.03, tail[1] + 0.09), (x - 0.05, y + 0.10), (x - 0.1, y - 0.08)], wing)
    pen.line([(x + 0.14, y - 0.04), (head_x, head_y)], 0.13, body)
    pen.ellipse(x, y, 0.27, size, body, -0.25)
    pen.ellipse(head_x, head_y, 0.105, 0.1, body)
    if pen.chance(0.4):
        pen.polygon(
            [(head_x - 0.06, head_y - 0.07), (head_x - 0.08, head_y - 0.2), (head_x + 0.04, head_y - 0.08)], wing
        )
    long = pen.between(0.09, 0.2)
    beak = (head_x + 0.08 + long, head_y + 0.02)
    pen.polygon([(head_x + 0.07, head_y - 0.05), beak, (head_x + 0.07, head_y + 0.05)], bill)
    if pen.chance(0.5):
        pen.ellipse(x + 0.07, y + size * 0.35, 0.15, size * 0.55, darker(body, 1.25), -0.25)
    tip = (x - 0.22, y + pen.between(-0.24, 0.05))
    pen.polygon([(x + 0.13, y - 0.06), (x + 0.02, y + 0.07), tip, (x - 0.05, y - 0.09)], wing)
    pen.ellipse(x + 0.06, y, 0.09, 0.075, wing)
    eye = (head_x + 0.03, head_y - 0.02)
    pen.ellipse(*eye, 0.026, 0.026, WHITE)
    pen.ellipse(*eye, 0.015, 0.015, BLACK)
    inner = (tail[0] + 0.03, tail[1] + 0.03)
    return [(beak[0] - 0.04, beak[1]), eye, inner, (tip[0] + 0.03, tip[1]), *feet]


def mammal(pen: Pen) -> list[Place]:
    coat = pen.one_of(BROWN, GREY, BLACK, SAND, WHITE, (170, 100, 60), (96, 92, 90))
    dark = darker(coat, 0.75) if coat != BLACK else (70, 66, 66)
    legs, thick = pen.between(0.14, 0.28), pen.between(0.06, 0.1)
    x, y, tall = 0.45, 0.48, pen.between(0.12, 0.17)
    ground = y + tall * 0.7 + legs
    head = (x + 0.3, y - pen.between(0.08, 0.26))
    for foot_x, fill in ((x - 0.14, dark), (x + 0.2, dark), (x - 0.22, coat), (x + 0.12, coat)):
        pen.line([(foot_x, y + 0.03), (foot_x, ground)], thick, fill)
    tail = (x - 0.36, y + pen.between(-0.18, 0.16))
    pen.line([(x - 0.24, y - 0.04), tail], 0.04, dark)
    pen.line([(x + 0.16, y - 0.02), head], 0.14, coat)
    pen.ellipse(x, y, 0.29, tall, coat)
    if (pattern := pen.between(0, 1)) < 0.25:
        for stripe in np.linspace(x - 0.2, x + 0.2, 6):
            pen.line([(stripe, y - tall * 0.7), (stripe + 0.02, y + tall * 0.5)], 0.024, dark)
    elif pattern < 0.5:
        for _spot in range(7):
            pen.ellipse(x + pen.between(-0.2, 0.2), y + pen.between(-0.6, 0.5) * tall, 0.035, 0.03, dark)
    ear = pen.between(0.06, 0.17)
    for side in (-0.05, 0.03):
        x_ear = head[0] + side
        pen.polygon(
            [(x_ear - 0.03, head[1] - 0.05), (x_ear, head[1] - 0.06 - ear), (x_ear + 0.035, head[1] - 0.04)], dark
        )
    pen.ellipse(*head, 0.105, 0.09, coat)
    long = pen.between(0.08, 0.15)
    pen.ellipse(head[0] + long, head[1] + 0.03, 0.08, 0.055, coat)
    nose = (head[0] + long + 0.065, head[1] + 0.015)
    pen.ellipse(*nose, 0.02, 0.018, (20, 16, 18))
    eye = (head[0] + 0.035, head[1] - 0.025)
    pen.ellipse(*eye, 0.018, 0.018, WHITE if coat == BLACK else BLACK)
    return [nose, eye, tail, (x + 0.12, ground), (x - 0.22, ground)]


def flower(pen: Pen) -> list[Place]:
    petal = pen.one_of(RED, PINK, VIOLET, YELLOW, WHITE, ORANGE, BLUE)
    heart = pen.one_of(YELLOW, BROWN, ORANGE) if petal != YELLOW else BROWN
    count, x, y = int(pen.rng.integers(5, 13)), 0.5, 0.36
    long = pen.between(0.19, 0.25)
    wide = min(pen.between(0.7, 1.15) * np.pi * long / count, 0.13)
    end = (x + pen.between(-0.08, 0.08), 0.95)
    pen.line([(x, y), (x + 0.02, 0.65), end], 0.028, GREEN)
    for side in (-1, 1):
        if pen.chance(0.7):
            pen.ellipse(x + side * 0.12, pen.between(0.68, 0.8), 0.13, 0.045, GREEN, side * -0.6)
    begin = pen.between(0, 1)
    for layer, shade in ((1.0, 1.0), (0.68, 0.82)) if pen.chance(0.5) else ((1.0, 1.0),):
        for number in range(count):
            angle = 2 * np.pi * (number + begin + layer) / count
            reach = long * layer * 0.62
            pen.ellipse(
                x + reach * np.cos(angle),
                y + reach * np.sin(angle),
                long * layer * 0.55,
                wide * layer,
                darker(petal, shade),
                angle,
            )
    pen.ellipse(x, y, 0.085, 0.085, heart)
    pen.ellipse(x, y, 0.05, 0.05, darker(heart, 0.8))
    return [(x, y), end]


def fruit(pen: Pen) -> list[Place]:
    form, x, y = int(pen.rng.integers(4)), 0.5, 0.56
    top = (x, y - 0.3)
    if form == 3:  # a banana, or a chilli's bend
        skin, angle = pen.one_of(YELLOW, (200, 200, 60)), np.linspace(0.15, np.pi - 0.15, 30)
        bend = pen.between(0.22, 0.32)
        outer = [(x + 0.42 * np.cos(a), 0.4 + bend * 1.35 * np.sin(a)) for a in angle]
        inner = [(x + 0.4 * np.cos(a), 0.39 + bend * 0.62 * np.sin(a)) for a in angle[::-1]]
        pen.polygon([*outer, *inner], skin)
        middle = [(x + 0.41 * np.cos(a), 0.4 + bend * 1.02 * np.sin(a)) for a in angle]
        pen.line(middle[4:-4], 0.012, darker(skin, 0.8))
        for end in (outer[0], outer[-1]):
            pen.ellipse(*end, 0.035, 0.035, (90, 70, 40))
        return [outer[-1], outer[15]]
    skin = pen.one_of(RED, GREEN, YELLOW, ORANGE, (150, 180, 60), (130, 40, 90), (236, 150, 110))
    if form == 0:  # an apple: two lobes
        for side in (-0.1, 0.1):
            pen.ellipse(x + side, y, 0.2, 0.26, skin)
        bottom, top = (x, y + 0.24), (x, y - 0.2)
    elif form == 1:  # a pear
        pen.ellipse(x, y + 0.08, 0.24, 0.23, skin)
        pen.ellipse(x, y - 0.14, 0.14, 0.18, skin)
        bottom, top = (x, y + 0.3), (x, y - 0.3)
    else:  # an orange, a plum, a lemon
        down = pen.between(0.2, 0.27)
        pen.ellipse(x, y, 0.26, down, skin)
        bottom, top = (x, y + down - 0.01), (x, y - down + 0.02)
        for _pore in range(40 if pen.chance(0.5) else 0):
            a, r = pen.between(0, 2 * np.pi), pen.between(0, 0.9)
            pen.ellipse(x + 0.24 * r * np.cos(a), y + down * r * np.sin(a), 0.008, 0.008, darker(skin, 0.85))
    pen.line([top, (top[0] + 0.03, top[1] - 0.1)], 0.028, BROWN)
    if pen.chance(0.7):
        pen.ellipse(top[0] + 0.11, top[1] - 0.06, 0.1, 0.045, GREEN, -0.4)
    pen.ellipse(x - 0.1, y - 0.08, 0.04, 0.06, darker(skin, 1.35), 0.5)
    return [(top[0] + 0.03, top[1] - 0.1), bottom]


def vehicle(pen: Pen) -> list[Place]:
    paint = pen.one_of(RED, BLUE, YELLOW, WHITE, TEAL, ORANGE, VIOLET, GREY, GREEN)
    glass, low, radius = (170, 206, 226), 0.66, pen.between(0.075, 0.1)
    form = int(pen.rng.integers(3))
    if form == 0:  # a car
        roof, front, back = pen.between(0.3, 0.38), pen.between(0.6, 0.68), pen.between(0.2, 0.3)
        pen.rectangle(0.05, 0.48, 0.95, low, paint, 0.06)
        pen.polygon([(back - 0.1, 0.5), (back, roof), (front, roof), (front + 0.16, 0.5)], paint)
        middle = (back + front) / 2
        pen.polygon(
            [(back - 0.04, 0.48), (back + 0.03, roof + 0.04), (middle - 0.02, roof + 0.04), (middle - 0.02, 0.48)],
            glass,
        )
        pen.polygon(
            [(middle + 0.02, 0.48), (middle + 0.02, roof + 0.04), (front - 0.02, roof + 0.04), (front + 0.1, 0.48)],
            glass,
        )
        wheels, top = [(0.76, low), (0.24, low)], (middle, roof)
        pen.ellipse(0.92, 0.54, 0.022, 0.03, YELLOW)
    elif form == 1:  # a lorry
        roof, load = pen.between(0.22, 0.32), pen.one_of(WHITE, SAND, GREY, TEAL)
        pen.rectangle(0.03, roof, 0.64, low - 0.02, load, 0.01)
        pen.rectangle(0.67, 0.36, 0.95, low, paint, 0.03)
        pen.polygon([(0.76, 0.4), (0.9, 0.4), (0.93, 0.51), (0.76, 0.51)], glass)
        pen.rectangle(0.03, low - 0.04, 0.95, low + 0.01, (70, 70, 74))
        wheels, top = [(0.8, low), (0.2, low)], (0.33, roof)
    else:  # a bus
        roof = pen.between(0.28, 0.34)
        pen.rectangle(0.04, roof, 0.96, low, paint, 0.04)
        for number in range(count := int(pen.rng.integers(4, 7))):
            left = 0.08 + number * 0.84 / count
            pen.rectangle(left, roof + 0.05, left + 0.66 / count, roof + 0.17, glass, 0.01)
        if pen.chance(0.6):
            pen.rectangle(0.04, low - 0.13, 0.96, low - 0.09, pen.one_of(WHITE, RED, YELLOW))
        wheels, top = [(0.77, low), (0.23, low)], (0.5, roof)
    for wheel in wheels:
        pen.ellipse(*wheel, radius, radius, BLACK)
        pen.ellipse(*wheel, radius * 0.5, radius * 0.5, (190, 190, 196))
    return [*wheels, top]


def coin(pen: Pen) -> list[Place]:
    metal = pen.one_of((188, 118, 78), (214, 180, 84), (182, 184, 190), (150, 138, 96))
    x = y = 0.5
    pen.ellipse(x, y, 0.45, 0.45, metal)
    pen.ellipse(x, y, 0.41, 0.41, darker(metal, 0.8))
    pen.ellipse(x, y, 0.39, 0.39, darker(metal, 1.06))
    relief, form = darker(metal, 0.72), int(pen.rng.integers(4))
    if form == 0:  # a figure between two laurels
        pen.ellipse(x, y - 0.05, 0.12, 0.15, relief)
        pen.polygon([(x - 0.2, y + 0.27), (x + 0.2, y + 0.27), (x, y + 0.02)], relief)
    elif form == 1:  # a star
        corners, begin = int(pen.rng.integers(5, 9)), pen.between(0, 1)
        pen.polygon(
            [
                (x + r * np.cos(a), y + r * np.sin(a))
                for number in range(2 * corners)
                for a, r in [(np.pi * (number + begin) / corners, 0.26 if number % 2 else 0.11)]
            ],
            relief,
        )
    elif form == 2:  # bars, as a number
        for number in range(int(pen.rng.integers(1, 4))):
            pen.rectangle(x - 0.16 + 0.13 * number, y - 0.2, x - 0.08 + 0.13 * number, y + 0.2, relief)
    else:  # rings
        for radius, shade in ((0.3, 0.8), (0.26, 1.08), (0.12, 0.75)):
            pen.ellipse(x, y, radius, radius, darker(metal, shade))
    for number in range(28):
        angle = 2 * np.pi * number / 28
        pen.ellipse(x + 0.355 * np.cos(angle), y + 0.355 * np.sin(angle), 0.012, 0.012, relief)
    return [(x, y)]


def sign(pen: Pen) -> list[Place]:
    x, y, form = 0.5, 0.5, int(pen.rng.integers(5))
    ground, rim = ((WHITE, RED), (YELLOW, BLACK), (BLUE, WHITE), (RED, WHITE))[int(pen.rng.integers(4))]
    corners, begin = ((3, -90.0), (4, -90.0), (8, -67.5), (60, 0.0), (4, -45.0))[form]

    def board(radius: float, fill: Colour) -> None:
        angle = np.radians(begin + 360 * np.arange(corners) / corners)
        pen.polygon([(x + radius * np.cos(a), y + radius * np.sin(a)) for a in angle], fill)

    outer = ground if ground in (BLUE, RED) else rim
    board(0.46, outer)
    board(0.43, rim)
    board(0.36, ground)
    mark = WHITE if ground in (BLUE, RED) else BLACK
    middle = y + (0.04 if corners == 3 else 0.0)
    symbol, size = int(pen.rng.integers(4)), 0.1 if corners == 3 else 0.18
    if symbol == 0:  # a bar
        pen.rectangle(x - size, middle - size / 4, x + size, middle + size / 4, mark)
    elif symbol == 1:  # an arrow
        pen.rectangle(x - size / 5, middle - size * 0.2, x + size / 5, middle + size, mark)
        pen.polygon(
            [(x - size * 0.7, middle - size * 0.1), (x, middle - size), (x + size * 0.7, middle - size * 0.1)], mark
        )
    elif symbol == 2:  # a cross
        pen.rectangle(x - size, middle - size / 4, x + size, middle + size / 4, mark)
        pen.rectangle(x - size / 4, middle - size, x + size / 4, middle + size, mark)
    else:  # an exclamation mark
        pen.polygon(
            [
                (x - size * 0.3, middle - size),
                (x + size * 0.3, middle - size),
                (x + size * 0.12, middle + size * 0.4),
                (x - size * 0.12, middle + size * 0.4),
            ],
            mark,
        )
        pen.ellipse(x, middle + size * 0.8, size * 0.2, size * 0.2, mark)
    inside = 0.46 * (np.cos(np.pi / corners) if form in (2, 4) else 1.0)
    return [(x, y), (x, y - inside + 0.01)]


def building(pen: Pen) -> list[Place]:
    wall = pen.one_of(WHITE, SAND, (196, 120, 96), (180, 190, 200), (224, 206, 160), PINK)
    tiles = pen.one_of((150, 56, 44), (90, 60, 50), (70, 84, 110), (60, 100, 80))
    half, top, low = pen.between(0.18, 0.38), pen.between(0.2, 0.45), 0.93
    left, right = 0.5 - half, 0.5 + half
    pen.rectangle(left, top, right, low, wall)
    form = int(pen.rng.integers(3))
    if form == 0:  # a gable
        roof = (0.5, max(0.04, top - pen.between(0.18, 0.28)))
        pen.polygon([(left - 0.06, top + 0.01), roof, (right + 0.06, top + 0.01)], tiles)
        if pen.chance(0.5):
            pen.rectangle(right - 0.12, top - 0.17, right - 0.06, top - 0.02, darker(tiles, 0.7))
    elif form == 1:  # a flat roof
        roof = (0.5, top - 0.04)
        pen.rectangle(left - 0.03, top - 0.05, right + 0.03, top + 0.02, tiles)
    else:  # battlements
        roof = (0.5, top - 0.05)
        steps = 5
        for number in range(steps):
            begin = left + (2 * half) * number / steps
            pen.rectangle(begin, top - 0.06, begin + 1.2 * half / steps, top + 0.02, wall)
    pane, columns = pen.one_of((120, 160, 190), (60, 70, 90), (240, 214, 120)), 2 + (half > 0.27)
    rows = max(1, round((low - 0.24 - top) / 0.17))
    for row in range(rows):
        for column in range(columns):
            x = left + 2 * half * (column + 0.5) / columns
            y = top + 0.07 + 0.17 * row
            pen.rectangle(x - 0.045, y, x + 0.045, y + 0.09, darker(wall, 0.6))
            pen.rectangle(x - 0.035, y + 0.01, x + 0.035, y + 0.08, pane)
    pen.rectangle(0.44, low - 0.18, 0.56, low, darker(tiles, 0.8))
    return [roof, (0.5, low - 0.09), (left + 0.01, low - 0.01), (right - 0.01, low - 0.01)]


def person(pen: Pen) -> list[Place]:
    """Paint a person from the front, with the left side on the right of the image, or from
    behind."""
    skin = pen.one_of((240, 200, 170), (200, 150, 110), (130, 90, 62), (90, 60, 44))
    shirt = pen.one_of(RED, BLUE, YELLOW, GREEN, WHITE, TEAL, ORANGE, VIOLET, PINK)
    trousers = pen.one_of(BLACK, (50, 60, 100), BROWN, GREY, SAND, (96, 40, 50))
    hair = pen.one_of(BLACK, BROWN, SAND, GREY, (150, 70, 30))
    front, skirt, bare = pen.chance(0.7), pen.chance(0.2), pen.chance(0.5)
    neck, lean, long = (0.5, 0.28), pen.between(-0.2, 0.2), pen.between(0.21, 0.27)
    hip = (neck[0] + long * np.sin(lean), neck[1] + long * np.cos(lean))
    half, arm, leg = pen.between(0.075, 0.115), pen.between(0.11, 0.14), pen.between(0.13, 0.18)
    wide = pen.between(0.05, 0.085)

    def limb(begin: Place, first: float, second: float, long: float) -> tuple[Place, Place]:
        """Return the ends of two bones of that length; angles in radians from straight down."""
        joint = (begin[0] + long * np.sin(first), begin[1] + long * np.cos(first))
        return joint, (joint[0] + long * np.sin(second), joint[1] + long * np.cos(second))

    # first on the left of the image, then on its right
    shoulders = [(neck[0] + side * half, neck[1] + 0.03 - side * half * lean) for side in (-1, 1)]
    arms, legs, sits = [], [], pen.chance(0.2)
    for side, shoulder in zip((-1, 1), shoulders, strict=True):
        upper = side * pen.between(-0.2, 2.7)
        arms.append(limb(shoulder, upper, upper + side * pen.between(-1.0, 1.4), arm))
        thigh = side * (pen.between(0.9, 1.4) if sits else pen.between(0.0, 0.7))
        legs.append(
            limb((hip[0] + side * 0.03, hip[1]), thigh, thigh - side * pen.between(0.0, 1.2 if sits else 0.6), leg)
        )
    for side, (knee, foot) in zip((-1, 1), legs, strict=True):
        pen.line([(hip[0] + side * 0.03, hip[1]), knee, foot], wide, skin if skirt else trousers)
        pen.ellipse(foot[0] + side * 0.02, foot[1], 0.05, 0.03, BLACK)
    if skirt:
        pen.polygon([hip, *(knee for knee, _foot in legs)], trousers)
        pen.line([hip, legs[0][0], legs[1][0], hip], wide + 0.02, trousers)
    pen.polygon([*shoulders, (hip[0] + half * 0.75, hip[1]), (hip[0] - half * 0.75, hip[1])], shirt)
    for shoulder, (elbow, hand) in zip(shoulders, arms, strict=True):
        pen.line([shoulder, elbow], wide * 0.85, darker(shirt, 0.85))
        pen.line([elbow, hand], wide * 0.65, skin if bare else darker(shirt, 0.85))
        pen.ellipse(*hand, wide * 0.4, wide * 0.4, skin)
    head = (neck[0] - 0.12 * np.sin(lean) + pen.between(-0.02, 0.02), neck[1] - 0.13)
    pen.line([neck, head], 0.05, skin)
    pen.ellipse(head[0], head[1] - 0.01, 0.085, 0.1, hair)
    if front:
        pen.ellipse(head[0], head[1] + 0.015, 0.07, 0.083, skin)
        for side in (-1, 1):
            pen.ellipse(head[0] + side * 0.028, head[1] + 0.005, 0.012, 0.012, BLACK)
    if pen.chance(0.2):
        pen.polygon(
            [(head[0] - 0.09, head[1] - 0.05), (head[0], head[1] - 0.14), (head[0] + 0.09, head[1] - 0.05)],
            darker(trousers, 1.3),
        )
    rows = zip(shoulders, arms, legs, strict=True)
    each = [(shoulder, *arm, *leg) for shoulder, arm, leg in rows]
    left, right = each[::-1] if front else each
    sides = [place for pair in zip(left, right, strict=True) for place in pair]
    return [head, neck, *sides[:6], hip, *sides[6:]]


PAINTERS: dict[str, Callable[[Pen], list[Place]]] = {
    "bird": bird,
    "mammal": mammal,
    "flower": flower,
    "fruit": fruit,
    "vehicle": vehicle,
    "coin": coin,
    "sign": sign,
    "building": building,
    "person": person,
}


def figure(category: str, number: int) -> Cutout:
    """Paint the figure of that number; deterministic."""
    pen = Pen(np.random.default_rng([zlib.crc32(category.encode()), number]))
    points = np.array(PAINTERS[category](pen), np.float32) * DRAWN
    style = ("flat", "shaded", "outlined")[int(pen.rng.integers(3))]
    image = pen.image
    alpha = image.getchannel("A")
    if style == "shaded":
        image = _shaded(image, pen.rng)
    elif style == "outlined":
        inside = alpha.filter(ImageFilter.BoxBlur(3)).point(lambda value: 255 * (value > 240))
        rim = ImageChops.subtract(alpha, inside)
        image.paste((24, 22, 26, 255), (0, 0), rim)
    box = alpha.getbbox()
    assert box is not None
    image = image.crop(box)
    share = KEPT / max(image.size)
    size = (max(1, round(share * image.width)), max(1, round(share * image.height)))
    pixels = np.array(image.resize(size, Image.Resampling.BOX))
    points = (points - np.array(box[:2], np.float32)) * np.array(
        [size[0] / image.width, size[1] / image.height], np.float32
    )
    assert (pixels[..., 3] >= SOLID).any()
    return Cutout(f"drawn/{category}/{number:03d}", category, "", pixels, points)


def _shaded(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Shade a figure: light from the upper left, darker towards its outline, with a little
    grain."""
    alpha = image.getchannel("A")
    inner = np.asarray(alpha.filter(ImageFilter.GaussianBlur(18)), np.float32) / 255
    line = np.linspace(0.1, -0.1, DRAWN, dtype=np.float32)
    light = 0.72 + 0.36 * inner + line[None, :] + line[:, None]
    grain = rng.normal(0, 5, (DRAWN // 4, DRAWN // 4)).astype(np.float32)
    grain = np.asarray(Image.fromarray(grain).resize(image.size, Image.Resampling.BICUBIC))
    colours = np.asarray(image.convert("RGB"), np.float32) * light[..., None] + grain[..., None]
    shaded = Image.fromarray(colours.clip(0, 255).astype(np.uint8))
    shaded.putalpha(alpha)
    return shaded
