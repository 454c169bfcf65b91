"""kernel_axes: where the inputs of a kernel are."""

import pytest
import tf_keras as keras

from tf_unilth.engines.tfmot import kernel_axes, prunable_weights

layers = keras.layers


def _axes(layer, *shapes):
  tensors = [layers.Input(shape) for shape in shapes]
  layer(*tensors)
  return [
    (tuple(weight.shape), kernel_axes.input_axis(layer, weight))
    for weight in prunable_weights.prunable_weights(layer)
  ]


@pytest.mark.parametrize(
  'make, shapes, expected',
  [
    (lambda: layers.Dense(5), [(4,)], [((4, 5), -2)]),
    (lambda: layers.Conv1D(5, 3), [(8, 4)], [((3, 4, 5), -2)]),
    (lambda: layers.Conv2D(5, 3), [(8, 8, 4)], [((3, 3, 4, 5), -2)]),
    (lambda: layers.SeparableConv2D(5, 3), [(8, 8, 4)], [((1, 1, 4, 5), -2)]),
    (lambda: layers.Conv1DTranspose(5, 3), [(8, 4)], [((3, 5, 4), -1)]),
    (lambda: layers.Conv2DTranspose(5, 3), [(8, 8, 4)], [((3, 3, 5, 4), -1)]),
    (
      lambda: layers.Conv3DTranspose(5, 3),
      [(8, 8, 8, 4)],
      [((3, 3, 3, 5, 4), -1)],
    ),
    (lambda: layers.GRU(5), [(8, 4)], [((4, 15), -2), ((5, 15), -2)]),
    (lambda: layers.EinsumDense('ab,cb->ac', 5), [(4,)], [((5, 4), -1)]),
    (lambda: layers.EinsumDense('ab,bc->ac', 5), [(4,)], [((4, 5), -2)]),
    (
      lambda: layers.EinsumDense('...x,xyz->...yz', (5, 6)),
      [(7, 4)],
      [((4, 5, 6), -3)],
    ),
    (
      lambda: layers.MultiHeadAttention(2, 3),
      [(7, 4), (7, 4)],
      [((4, 2, 3), -3)] * 3 + [((2, 3, 4), -2)],
    ),
  ],
)
def test_the_axis_of_the_inputs(make, shapes, expected):
  assert _axes(make(), *shapes) == expected
