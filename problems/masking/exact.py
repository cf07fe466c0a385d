"""Fully connected networks under masks, evaluated by what a mask changes, in exact arithmetic."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from operators.masks.genome import MaskGenome

# float64 holds integers up to here exactly; sums below it are the same in any order.
_EXACT_BITS = 53
_ACTIVATION_BITS = 24
_MOST_STATES = 64
# A mask that differs from its parent in more than one weight of so many is evaluated from nothing.
_MANY_FLIPS = 20


Derivative = Callable[[np.ndarray], np.ndarray]
"""(n_classes, n) float32 logits to a loss's derivative by them."""


@dataclass(frozen=True)
class State:
    """What is kept of one mask's evaluation.

    Attributes:
        rows: Pre-activations of the first layer: one (n_images,) float64 array of whole numbers a neuron,
            shared between masks and never changed.
        later: One (n_out, n_images) array for each further hidden layer.
        logits: (n_classes, n_images) float32.
    """

    rows: list[np.ndarray]
    later: list[np.ndarray]
    logits: np.ndarray


class ExactNetwork:
    """A fully connected ReLU network whose masks' logits are the same bits however they are reached.

    Weights, inputs and hidden activations are whole numbers times a unit (weights of up to 24 bits,
    activations of 24), so that every sum in front of a hidden neuron is exact in float64 and does not
    depend on its order. A swap of weights then only adds what it changes: a row of pixels times a
    weight for each flipped weight of the first layer, one thin product of matrices for the neurons
    that change. The last layer is one product in float32, of one shape for every mask. The difference
    from the same network in float32 is of the size of float32's own rounding.

    Args:
        weights: [(h1, n_in), ..., (n_classes, h)] float.
        biases: [(h1,), ..., (n_classes,)] or None; never masked.
        pixels: (n, n_in) whole numbers from 0 to `white`.
        white: The number that stands for 1.
        cache_bytes: Most memory for the states of masks.
    """

    def __init__(
        self,
        weights: Sequence[np.ndarray],
        biases: Sequence[np.ndarray] | None,
        pixels: np.ndarray,
        *,
        white: int,
        cache_bytes: int = 512 << 20,
    ) -> None:
        self.shapes = [w.shape for w in weights]
        self.starts = np.cumsum([0, *(w.size for w in weights)])
        self._cache_bytes = cache_bytes
        self._last = weights[-1].astype(np.float32)
        self._biases = None if biases is None else [b.astype(np.float64) for b in biases]
        self._white = white
        self._set_units(weights)
        self.show(pixels)

    def _weight_bits(self) -> list[int]:
        """Bits of each layer's weights, such that a sum over all inputs and the bias stays exact."""
        n_bits = [int(self._white).bit_length(), *([_ACTIVATION_BITS] * (len(self.shapes) - 1))]
        sizes = [n_in + 1 for _, n_in in self.shapes]
        return [min(24, _EXACT_BITS - 1 - b - n.bit_length()) for b, n in zip(n_bits, sizes, strict=True)]

    def _set_units(self, weights: Sequence[np.ndarray]) -> None:
        """Units of weights and hidden activations, from the largest that any mask and any image can have."""
        self._units: list[float] = []
        self._whole: list[np.ndarray] = []
        self._steps: list[float] = []
        self._offsets: list[np.ndarray] = []
        scale, largest = 1.0 / self._white, np.full(self.shapes[0][1], float(self._white))
        for k, (weight, bits) in enumerate(zip(weights, self._weight_bits(), strict=True)):
            is_last = k == len(weights) - 1
            most = float(np.abs(weight).max())
            if self._biases is not None and not is_last:
                # a bias is the weight of one more input, one that is always at its greatest
                most = max(most, float(np.abs(self._biases[k]).max()) / (max(float(largest.max()), 1.0) * scale))
            self._units.append(most / 2.0**bits if most > 0 else 1.0)
            whole = np.rint(weight.astype(np.float64) / self._units[k])
            self._whole.append(whole)
            if is_last:
                break
            unit = self._units[k] * scale
            offset = np.zeros(len(whole)) if self._biases is None else np.rint(self._biases[k] / unit)
            self._offsets.append(offset[:, None])
            largest = np.maximum(whole, 0.0) @ largest + np.maximum(offset, 0.0)
            # a power of two, so that nothing but the rounding itself is lost
            step = 2.0 ** max(0, math.ceil(math.log2(max(float(largest.max()), 1.0))) - _ACTIVATION_BITS)
            self._steps.append(step)
            largest = np.rint(largest / step)
            scale = unit * step
        # the last layer takes pre-activations in the unit of their own layer
        self._last_scale = np.float32(scale / self._steps[-1] if self._steps else scale)

    def show(self, pixels: np.ndarray) -> None:
        """Take other images, (n, n_in), from now on."""
        self._inputs = np.ascontiguousarray(pixels.T, dtype=np.float64)
        n = self.n_images = self._inputs.shape[1]
        self._states: OrderedDict[bytes, State] = OrderedDict()
        self._spare: list[list[np.ndarray]] = []
        sizes = [n_out for n_out, _ in self.shapes[1:-1]]
        # a state shares most rows of its first layer with others: an eighth of them counts as its own
        each = 8 * n * (sum(sizes) + self.shapes[0][0] // 8 + 1)
        self._limit = max(2, min(_MOST_STATES, self._cache_bytes // each))
        self._scratch = np.empty((self.shapes[-1][1], n), dtype=np.float32)

    # -- logits -------------------------------------------------------------------------------

    def logits(self, genome: MaskGenome) -> np.ndarray:
        """(n_classes, n_images) float32 logits of one mask; do not change them."""
        return self.state(genome).logits

    def state(self, genome: MaskGenome) -> State:
        """The state of a mask: remembered, made from its parent's, or made from nothing."""
        known = self._states.get(genome.key)
        if known is not None:
            self._states.move_to_end(genome.key)
            return known
        parent = None if genome.parent_key is None else self._states.get(genome.parent_key)
        if parent is None or genome.flips is None or len(genome.flips) > self.starts[-1] // _MANY_FLIPS:
            made = self._from_nothing(genome)
        else:
            assert genome.parent_key is not None
            self._states.move_to_end(genome.parent_key)
            made = self._from_parent(genome, genome.flips, parent)
        self._states[genome.key] = made
        while len(self._states) > self._limit:
            _, oldest = self._states.popitem(last=False)
            self._spare.append(oldest.later)
        return made

    def activations(self, layer: int, pre: np.ndarray) -> np.ndarray:
        """Whole-number activations behind a hidden layer, of its pre-activations (rows, n)."""
        a = np.maximum(pre, 0.0)
        if self._steps[layer] != 1.0:
            a *= 1.0 / self._steps[layer]
            np.rint(a, out=a)
        return a

    def mask_of(self, genome: MaskGenome, layer: int) -> np.ndarray:
        """The mask of one layer in the shape of its weight."""
        return genome.part(int(self.starts[layer]), int(self.starts[layer + 1])).reshape(self.shapes[layer])

    def _blocks(self) -> list[np.ndarray]:
        """Arrays for the further hidden layers, of a forgotten state where there is one.

        Fresh memory of this size comes from the system page by page, which takes longer than to fill it.
        """
        return self._spare.pop() if self._spare else [np.empty((h, self.n_images)) for h, _ in self.shapes[1:-1]]

    def _from_nothing(self, genome: MaskGenome) -> State:
        if len(self.shapes) == 1:
            return State([], [], self._outputs(genome, self._inputs))
        first = (self._whole[0] * self.mask_of(genome, 0)) @ self._inputs
        first += self._offsets[0]
        return self._onward(genome, [row.copy() for row in first], first)

    def _onward(self, genome: MaskGenome, rows: list[np.ndarray], first: np.ndarray) -> State:
        """The state behind a first layer with pre-activations `first`, (h1, n_images)."""
        later, before = self._blocks(), first
        for k, block in enumerate(later, start=1):
            self._whole_layer(genome, k, before, out=block)
            before = block
        return State(rows, later, self._outputs(genome, before))

    def _whole_layer(self, genome: MaskGenome, layer: int, before: np.ndarray, *, out: np.ndarray) -> None:
        """Pre-activations of a further hidden layer from those of the one before it."""
        np.matmul(self._whole[layer] * self.mask_of(genome, layer), self.activations(layer - 1, before), out=out)
        out += self._offsets[layer]

    def _outputs(self, genome: MaskGenome, before: np.ndarray) -> np.ndarray:
        """Logits from the last hidden layer's pre-activations."""
        layer = len(self.shapes) - 1
        weight = self._last * self.mask_of(genome, layer) * self._last_scale
        self._scratch[...] = before
        np.maximum(self._scratch, np.float32(0), out=self._scratch)
        logits = weight @ self._scratch
        if self._biases is not None:
            logits += self._biases[layer].astype(np.float32)[:, None]
        return logits

    # -- from the parent's state --------------------------------------------------------------

    def _from_parent(self, genome: MaskGenome, flips: np.ndarray, parent: State) -> State:
        n_hidden = len(self.shapes) - 1
        if not n_hidden:
            return State([], [], self._outputs(genome, self._inputs))
        bounds = np.searchsorted(flips, self.starts)
        signs = np.where(genome.keeps(flips), 1.0, -1.0)
        parts = [(flips[a:b] - s, signs[a:b]) for s, a, b in zip(self.starts, bounds, bounds[1:], strict=False)]
        rows, changed, change = self._first_layer(parent, *parts[0])
        if n_hidden == 1:
            return State(rows, [], self._outputs(genome, np.stack(rows)))
        later = self._blocks()
        self._second_layer(genome, parent, changed, change, *parts[1], out=later[0])
        for k in range(2, n_hidden):
            # nearly every neuron of the second layer has changed: the whole product is as cheap as its change
            self._whole_layer(genome, k, later[k - 2], out=later[k - 1])
        return State(rows, later, self._outputs(genome, later[-1]))

    def _first_layer(
        self, parent: State, flips: np.ndarray, signs: np.ndarray
    ) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """All rows, the neurons whose row changes, and the change of their activations."""
        if not len(flips):
            return parent.rows, np.empty(0, dtype=np.int64), np.empty((0, self.n_images))
        n_in = self.shapes[0][1]
        outs, ins = np.divmod(flips, n_in)
        changed, starts = np.unique(outs, return_index=True)
        weights = self._whole[0][outs, ins] * signs
        flipped = sparse.csr_array((weights, ins, np.append(starts, len(outs))), shape=(len(changed), n_in))
        old = np.stack([parent.rows[i] for i in changed])
        new = flipped @ self._inputs
        new += old
        rows = parent.rows.copy()
        for i, row in zip(changed.tolist(), new, strict=True):
            rows[i] = row.copy()  # a view would keep all of `new`
        return rows, changed, self.activations(0, new) - self.activations(0, old)

    def _second_layer(
        self,
        genome: MaskGenome,
        parent: State,
        changed: np.ndarray,
        change: np.ndarray,
        flips: np.ndarray,
        signs: np.ndarray,
        *,
        out: np.ndarray,
    ) -> None:
        """The second layer's pre-activations: the parent's, what its changed inputs add, and its own flips."""
        weights, changes = [], []
        if len(changed):
            weights.append(self._whole[1][:, changed] * self.mask_of(genome, 1)[:, changed])
            changes.append(change)
        if len(flips):
            outs, ins = np.divmod(flips, self.shapes[1][1])
            inputs, column = np.unique(ins, return_inverse=True)
            own = np.zeros((len(out), len(inputs)))
            own[outs, column] = self._whole[1][outs, ins] * signs
            weights.append(own)
            changes.append(self.activations(0, np.stack([parent.rows[i] for i in inputs])))
        if not weights:
            out[...] = parent.later[0]
            return
        if len(weights) == 1:
            np.matmul(weights[0], changes[0], out=out)
        else:
            np.matmul(np.hstack(weights), np.vstack(changes), out=out)
        out += parent.later[0]

    # -- slopes -------------------------------------------------------------------------------

    def slope(self, genome: MaskGenome, derivative: Derivative, pixels: np.ndarray | None = None) -> np.ndarray:
        """Derivative of a loss by every place of the mask, kept or not: w dL/dw, (n,) float32.

        Args:
            genome: The mask at which it is taken.
            derivative: (n_classes, n) float32 logits to the loss's derivative by them, of the same shape.
            pixels: (n, n_in) images to take it on, in float32 and from nothing; None for those that are shown.
        """
        weights = [(w * unit).astype(np.float32) for w, unit in zip(self._whole, self._units, strict=True)]
        masked = [w * self.mask_of(genome, k) for k, w in enumerate(weights)]
        white = np.float32(1 / self._white)
        if pixels is None:
            state = self.state(genome)
            inputs, logits = [self._inputs.astype(np.float32) * white, *self._hidden(state)], state.logits
        else:
            inputs = [np.ascontiguousarray(pixels.T, dtype=np.float32) * white]
            for k, weight in enumerate(masked):
                pre = weight @ inputs[-1]
                if self._biases is not None:
                    pre += self._biases[k].astype(np.float32)[:, None]
                inputs.append(np.maximum(pre, 0.0) if k < len(masked) - 1 else pre)
            logits = inputs.pop()
        parts, d = [], derivative(logits)
        for k in reversed(range(len(weights))):
            parts.append((weights[k] * (d @ inputs[k].T)).ravel())
            if k:
                d = masked[k].T @ d
                d *= inputs[k] > 0
        return np.concatenate(parts[::-1])

    def _hidden(self, state: State) -> list[np.ndarray]:
        """Activations of the hidden layers of a state, float32."""
        found = []
        scale = 1.0 / self._white
        for k, pre in enumerate([np.stack(state.rows), *state.later] if state.rows else []):
            scale *= self._units[k]
            found.append(np.maximum(pre, 0.0).astype(np.float32) * np.float32(scale))
            scale *= self._steps[k]
        return found
