"""HyperSparse: adaptive regularization makes a network sparse before one cut.

Glandorf, Kaiser and Rosenhahn, "HyperSparse Neural Networks: Shifting
Exploration to Exploitation through Adaptive Regularization" (ICCV Workshops
2023, arXiv 2308.07163); the authors' code: GreenAutoML4FAS/HyperSparse.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import tf_unilth
from recipes.training import keras_classes
from recipes.training.method_settings import Settings, TrainingSetup

# The paper's lambda in the first epoch of the regularized training.
FIRST_LAMBDA = 5e-6
# Of the last such epoch: our choice, by the validation accuracy of LeNet.
LAST_LAMBDA = 1e-2
# Where tanh bends most, atanh(1 / sqrt(3)): the third derivative is 0 there.
_BEND = 0.6585


class _Regularizer:
  """Adds the penalty to the loss of a model of tf_keras.

  Lambda follows from the optimizer's step, and the scale of the penalty from
  the weights of this step, so a run that goes on needs nothing else.

  Args:
    sparsity: the target, in [0, 1).
    span: fractions of the epochs after which the penalty begins and ends.
    limit: lambda in the last epoch of the penalty.
  """

  # Keras sets them.
  params: Mapping[str, int]
  model: Any

  def __init__(self, sparsity: float, span: tuple[float, float], limit: float):
    super().__init__()
    self._sparsity, self._span, self._limit = sparsity, span, limit

  def on_train_begin(self, logs: Any = None) -> None:
    """Adds the penalty, before Keras traces the training step."""
    import tensorflow as tf  # Here: Keras 3 may be without it.

    steps = self.params['steps']
    first, last = penalized_epochs(self.params['epochs'], self._span)
    count = last - first
    rising = [lambda_in(epoch, count, self._limit) for epoch in range(count)]
    table = tf.constant([*[0.0] * first, *rising, 0.0])
    kernels = _kernels(self.model)
    optimizer = self.model.optimizer

    def loss() -> Any:
      epoch = tf.minimum(optimizer.iterations // steps, last)
      strength = tf.gather(table, epoch)
      return tf.cond(
        strength > 0,
        lambda: strength * penalty(kernels, self._sparsity),
        lambda: 0.0,
      )

    self.model.add_loss(loss)


def _kernels(model: Any) -> list[Any]:
  """Returns the kernels that tfmot's wrappers in a model prune."""
  return [
    kernel
    for layer in model.submodules
    for kernel, _, _ in getattr(layer, 'pruning_vars', ())
  ]


def penalty(kernels: Sequence[Any], sparsity: float) -> Any:
  """Returns the paper's L_HS, a scalar whose value is 0.

  L_HS = 1/A * sum_i(|w_i| * sum_j tanh(s |w_j|)) - sum_i |w_i|, over all
  kernels together. A = sum_j tanh(s |w_j|) and s count as constants, so only
  the gradient differs from 0: sign(w_i) * s * (1 - tanh(s |w_i|)^2) * sum_j
  |w_j| / A. It falls to 0 for large weights. s puts the bend of tanh on the
  smallest weight that a cut to the target keeps. If this weight is 0, so is the
  gradient.

  Args:
    kernels: of the model, float32.
    sparsity: the target, in [0, 1).

  >>> import tensorflow as tf
  >>> kernel = tf.Variable([-4.0, 1.0, 0.1])
  >>> with tf.GradientTape() as tape:
  ...   loss = penalty([kernel], 0.5)
  >>> [round(float(g), 3) for g in tape.gradient(loss, kernel)]
  [-0.042, 1.371, 2.048]
  """
  import tensorflow as tf  # Here: Keras 3 may be without it.

  sizes = tf.concat([tf.abs(tf.reshape(k, [-1])) for k in kernels], 0)
  count = int(sizes.shape[0])
  kept = count - math.floor(sparsity * count)
  smallest = tf.math.top_k(sizes, kept).values[-1]
  scale = tf.stop_gradient(tf.math.divide_no_nan(_BEND, smallest))
  bent = tf.reduce_sum(tf.tanh(scale * sizes))
  constant = tf.stop_gradient(bent)
  return tf.reduce_sum(sizes) * tf.math.divide_no_nan(bent - constant, constant)


def penalized_epochs(epochs: int, span: tuple[float, float]) -> tuple[int, int]:
  """Returns the epochs before the first with a penalty, and before the cut.

  Args:
    epochs: of the run, at least 2.
    span: fractions of the epochs.

  >>> penalized_epochs(15, (0.2, 0.7))
  (3, 10)
  """
  cut = min(max(1, round(span[1] * epochs)), epochs - 1)
  return min(round(span[0] * epochs), cut - 1), cut


def lambda_in(epoch: int, epochs: int, limit: float) -> float:
  """Returns lambda in an epoch with a penalty; it rises exponentially.

  Args:
    epoch: from 0, for the first one with a penalty.
    epochs: how many have a penalty, at least 1.
    limit: lambda in the last one; 0 for none in all of them.

  >>> [round(1e6 * lambda_in(epoch, 3, 5e-4)) for epoch in range(3)]
  [5, 50, 500]
  """
  if limit == 0:
    return 0.0
  share = epoch / (epochs - 1) if epochs > 1 else 1.0
  return FIRST_LAMBDA * (limit / FIRST_LAMBDA) ** share


def setup(settings: Settings) -> TrainingSetup:
  """Returns dense training, regularized training, a cut and finetuning.

  The paper's are: dense training, then epochs in which the loss has the
  penalty times lambda, which begins at 5e-6 and is multiplied by a constant
  after each epoch; one cut by magnitude over all layers; finetuning with a
  learning rate that begins anew. It cuts when the pruned network has a higher
  training accuracy than the dense one had, on average over three epochs. Its
  factor, 1.05, needs hundreds of epochs for that. Here all methods have the
  same few epochs, so these are our choice: the cut comes after a fixed fraction
  of them (--end_fraction), and the factor follows from lambda in the last epoch
  before it (--limit). Both are searched. The learning rate decays before the
  cut as in the other methods, where the paper's is constant.

  Args:
    settings: of the run.

  Raises:
    ValueError: --end_fraction or --limit is out of its range here.
  """
  begin, end = settings.gradual_span
  if end == 1:
    raise ValueError(
      '--end_fraction must be below 1 for --method=hypersparse, since '
      f'finetuning follows its cut, but is {end}.'
    )
  given = dict(settings.callback)
  ramp = given.pop('ramp', None)
  limit = LAST_LAMBDA if ramp is None else ramp.limit
  if 0 < limit < FIRST_LAMBDA:
    raise ValueError(
      f'--limit must be 0 or at least {FIRST_LAMBDA} for --method=hypersparse, '
      f'but is {limit}.'
    )
  schedule = tf_unilth.IterativeSparsity(
    settings.target_sparsity, rounds=1, **settings.schedule
  )
  callback = tf_unilth.UniLTH(
    ramp=tf_unilth.L2Ramp(limit=0),
    patience=None,
    max_dense_fraction=end,
    finetune_fraction=1.0,
    **given,
  )
  regularizer = keras_classes.callback(
    settings.keras,
    _Regularizer,
    settings.target_sparsity,
    (begin, end),
    limit,
  )
  return TrainingSetup(schedule, [regularizer, callback], callback)
