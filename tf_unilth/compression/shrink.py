"""shrink: the smaller model without the units that contribute nothing."""

from typing import TYPE_CHECKING, Any

from tf_unilth.argument_checks import check_int
from tf_unilth.engines import which_keras

if TYPE_CHECKING:
  from tf_unilth.engines.tfmot.keras_access import keras


def shrink(model: Any, multiple_of: int = 1) -> 'keras.Model':
  """Returns a smaller model with the same outputs.

  Channels and units that do not contribute to the outputs are removed: those
  that no layer reads, because the weights that would read them are zero, and
  those that have the same value for any input, if this value can be added to
  the biases of the layers that read it. A layer without a bias gets one then.
  Dense matrices and convolutions become smaller, and faster in any runtime.

  A unit can go only together with what is coupled to it, such as the channels
  that `Add` adds to it. The widths of the model's inputs and outputs stay, and
  those that layers of other types read or make; `shrink_report` lists them.

  Outputs are the same in inference. In training they are too, except for what
  batch statistics and dropout do to channels of a constant value. Single zeros
  stay, but blocks of zeros (`block_size`) lose their positions if the inputs of
  their layer shrink. A warning names such layers: prune blocks after `shrink`.

  Args:
    model: a built Sequential or functional tf_keras model, also with models
      inside, wrapped or stripped. It is not changed.
    multiple_of: what widths are rounded up to a multiple of, where the layer
      has as many units; >= 1. Integer kernels are fastest for multiples of 8.

  Returns:
    A new model with weights of its own, which must be compiled. Names, data
    types and `trainable` are those of `model`; a wrapped model is stripped.

  Raises:
    TypeError: `model` is not a tf_keras model.
    ValueError: `model` is subclassed or not built, or `multiple_of` is invalid,
      or Keras cannot make a layer from its configuration.
    RuntimeError: the outputs of the two models differ on random inputs by more
      than rounding does. This is an error of the library.

  >>> layers = [
  ...   keras.layers.Dense(8, activation='relu', input_shape=(3,)),
  ...   keras.layers.Dense(2)]
  >>> model = keras.Sequential(layers)
  >>> kernel, bias = model.layers[0].get_weights()
  >>> kernel[:, :5] = 0  # These five units are constants.
  >>> model.layers[0].set_weights([kernel, bias])
  >>> [layer.units for layer in shrink(model).layers]
  [3, 2]
  >>> [layer.units for layer in shrink(model, multiple_of=4).layers]
  [4, 2]
  """
  multiple_of = check_int('multiple_of', multiple_of, 1)
  which_keras.check_tf_keras(model, 'model', 'Model')
  # Here, since they import TensorFlow, which Keras 3 models may do without.
  from tf_unilth.compression import output_check
  from tf_unilth.compression.analysis import Analysis
  from tf_unilth.compression.smaller_model import SmallerModel

  analysis = Analysis(model)
  smaller = SmallerModel(analysis, analysis.kept(multiple_of)).build(model)
  output_check.check_outputs(model, smaller)
  return smaller
