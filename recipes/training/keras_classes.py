"""Classes of the recipes that derive from a Keras's, made for either Keras.

A run is told which Keras its model is of, and only that one is imported. Each
function returns the same class whenever it is given the same Keras.
"""

import functools
from typing import Any

import tf_unilth


def callback(keras: Any, kind: type, *arguments: Any, **named: Any) -> Any:
  """Returns a callback of a Keras with the hooks of a plain class.

  Args:
    keras: the module of the Keras.
    kind: a class with some of the hooks of `keras.callbacks.Callback`.
    *arguments: of its constructor.
    **named: of its constructor.
  """
  return _callback_class(keras, kind)(*arguments, **named)


@functools.cache
def _callback_class(keras: Any, kind: type) -> Any:
  return type(kind.__name__, (kind, keras.callbacks.Callback), {})


@functools.cache
def py_dataset(keras: Any) -> Any:
  """Returns the class of an input of Keras 3 that computes each batch.

  Its argument is an `ArrayBatches`.

  Args:
    keras: the module of Keras 3.
  """

  class PyDataset(keras.utils.PyDataset):
    """Batches that are computed from their positions."""

    def __init__(self, batches: Any):
      super().__init__()
      self._batches = batches

    def __len__(self) -> int:
      return len(self._batches)

    def __getitem__(self, index: int) -> Any:
      return self._batches[index]

  return PyDataset


@functools.cache
def sgd(keras: Any) -> Any:
  """Returns the class of SGD with the weight decay of published settings.

  It adds l2 * w to the gradient of all trainable variables, before the
  momentum, as PyTorch and He et al. (2016) do. Keras's own `weight_decay` is
  decoupled from the gradient, w (1 - learning_rate * weight_decay): with a
  learning rate of 0.1 it is ten times weaker at the same value, so published
  values could not be used. Gradients are clipped before l2 * w is added.

  The arguments of the class are the learning rate, a number or a schedule; the
  coefficient l2, at least 0; and those of Keras's `SGD`.

  Args:
    keras: the module of a Keras.

  >>> import tensorflow as tf, tf_keras
  >>> weight = tf.Variable(2.0)
  >>> optimizer = sgd(tf_keras)(0.1, l2=0.5)
  >>> _ = optimizer.apply_gradients([(tf.constant(0.0), weight)])
  >>> round(float(weight), 4)
  1.9
  """

  @keras.saving.register_keras_serializable('recipes')
  class SGD(keras.optimizers.SGD):
    """SGD that adds l2 * w to the gradient."""

    # A weight of 0 stays 0, since its l2 * w is 0.
    keeps_zeros = True

    def __init__(
      self, learning_rate: Any = 0.01, l2: float = 0.0, **kwargs: Any
    ):
      super().__init__(learning_rate, **kwargs)
      self.l2 = l2

    def update_step(self, gradient: Any, variable: Any, *rate: Any) -> None:
      """Updates a variable; Keras 3 also passes the learning rate."""
      if self.l2:
        gradient = gradient + variable * self.l2
      super().update_step(gradient, variable, *rate)

    def get_config(self) -> dict[str, Any]:
      """Returns the arguments of the constructor."""
      return {**super().get_config(), 'l2': self.l2}

  return SGD


@functools.cache
def smoothed_crossentropy(keras: Any) -> Any:
  """Returns the class of the cross-entropy with smoothed integer labels.

  A fraction of each label is spread evenly over all classes (Szegedy et al.
  2016). Keras smooths one-hot labels only. The arguments of the class are the
  fraction, in [0, 1), and those of Keras's `Loss`; it takes logits.

  Args:
    keras: the module of a Keras.

  >>> import tensorflow as tf, tf_keras
  >>> loss = smoothed_crossentropy(tf_keras)(0.5)
  >>> round(float(loss([1], tf.constant([[0.0, 2.0]]))), 4)
  0.6269
  """

  @keras.saving.register_keras_serializable('recipes')
  class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of logits with smoothed integer labels."""

    def __init__(self, smoothing: float, **kwargs: Any):
      super().__init__(**kwargs)
      self.smoothing = smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
      """Returns the loss of each example, [n]."""
      return keras.losses.categorical_crossentropy(
        _one_hot(keras, y_true, y_pred.shape[-1]),
        y_pred,
        from_logits=True,
        label_smoothing=self.smoothing,
      )

    def get_config(self) -> dict[str, Any]:
      """Returns the arguments of the constructor."""
      return {**super().get_config(), 'smoothing': self.smoothing}

  return SmoothedCrossentropy


def _one_hot(keras: Any, labels: Any, classes: int) -> Any:
  """Returns integer labels, [n] or [n, 1], as vectors, [n, classes]."""
  if hasattr(keras, 'ops'):  # Keras 3, whose losses cast labels to floats.
    labels = keras.ops.cast(keras.ops.reshape(labels, (-1,)), 'int32')
    return keras.ops.one_hot(labels, classes)
  import tensorflow as tf  # Here, because Keras 3 may not need it.

  return tf.one_hot(tf.reshape(labels, [-1]), classes)


@functools.cache
def one_decay(keras: Any) -> Any:
  """Returns the class of a rate that ticket callbacks do not restart.

  It is a `StagedLearningRate` that decays once over the whole run. A rewind
  resets its position, as with Keras's own schedules, so a run that was rewound
  does not reach its end. The arguments are those of `StagedLearningRate`.

  Args:
    keras: the module of a Keras.

  >>> import tf_keras
  >>> rate = one_decay(tf_keras)(initial_learning_rate=0.2, decay_steps=10)
  >>> [round(float(rate(step)), 3) for step in (0, 5, 10)]
  [0.2, 0.1, 0.0]
  """

  @keras.saving.register_keras_serializable('recipes')
  class OneDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A `StagedLearningRate` that ticket callbacks do not restart."""

    def __init__(self, **arguments: Any):
      super().__init__()
      self._decay = tf_unilth.StagedLearningRate(**arguments)

    def __call__(self, step: Any) -> Any:
      return self._decay(step)

    def get_config(self) -> dict[str, Any]:
      """Returns the arguments of the constructor."""
      return self._decay.get_config()

  return OneDecay
