"""UniLTH and UniDLTH, unified lottery tickets: found or transformed."""

from tf_unilth.algorithms.pruning_scores import Magnitude, Random
from tf_unilth.algorithms.unified_ticket import UnifiedTicketCallback
from tf_unilth.run.plateau import Plateau
from tf_unilth.schedules.l2_ramp import L2Ramp


class UniLTH(UnifiedTicketCallback):
  """Finds a winning ticket: plateau, rewind, rounds of L2 ramp and pruning.

  Stage 1 trains the dense model until `monitor` has not improved for `patience`
  epochs, then rewinds weights, statistics and optimizer a few epochs. Stage 2
  prunes in rounds. In round r, the weights that must be removed to reach its
  sparsity s_r, those with the smallest |w|, get the loss 1/2 lambda(t) sum w^2
  with a rising lambda. At the end of the round, the mask is set to s_r by the
  current magnitudes. Stage 3 finetunes the remaining weights.

  Pass it to `fit` of a model that `prune_low_magnitude` wrapped with an
  `IterativeSparsity`; no `UpdatePruningStep` is needed. Rounds and finetuning
  share the steps that are left when stage 2 begins, so that `fit` ends at the
  target. The epoch logs gain `sparsity`, `stage` (1 dense, 2 rounds,
  3 finetuning; 0 with a target of 0), `round` and `l2_lambda`.

  Args:
    monitor: the value that stage 1 monitors, a name in the epoch logs.
    mode: `'min'`, `'max'` or `'auto'`, as in Keras's `EarlyStopping`.
    patience: epochs without improvement that make a plateau, at least 1.
      `None`: no plateau, stage 1 lasts for `max_dense_fraction` (an ablation).
    min_delta: the smallest change that counts as an improvement, at least 0.
    rewind_epochs: how many epochs before the plateau to rewind to, at least 0;
      0 does not rewind (an ablation). `None`: to the best epoch.
    max_dense_fraction: the largest share of the epochs for stage 1, in (0, 1).
      `None`: a fifth, but at least patience + 2 epochs.
    finetune_fraction: the share of the steps of stages 2 and 3 for stage 3, in
      [0, 1]; 1 prunes in one round, at once.
    ramp: the L2 ramp. `None`: `L2Ramp()`, whose limit follows from the
      algorithm's shrink exponent; `L2Ramp(limit=0)`: no ramp (an ablation).
    verbose: 0 is silent, 1 prints a line per event, 2 a line per round too.
    pretrained: whether the model is already trained. `True` skips stage 1, so
      there is no plateau and no rewind: the rounds begin at the first step, a
      `StagedLearningRate` decays once over all epochs, and no validation data
      are needed. The arguments from `monitor` to `max_dense_fraction` must
      then have their defaults.

  Raises:
    ValueError: an argument is out of its range, or belongs to stage 1 with
      `pretrained=True`; in `fit`, the target cannot be reached.
    FloatingPointError: in `fit`, a weight, an optimizer slot or the loss is not
      finite.

  >>> model = keras.Sequential([keras.layers.Dense(10, input_shape=(4,))])
  >>> model = prune_low_magnitude(model, IterativeSparsity(0.5))
  >>> model.compile('sgd', 'mse')
  >>> data = np.ones((8, 4), 'float32'), np.ones((8, 10), 'float32')
  >>> history = model.fit(*data, validation_data=data, epochs=5, verbose=0,
  ...                     callbacks=[UniLTH(verbose=0)])
  >>> history.history['sparsity'][-1]
  0.5

  A model that is already trained, such as one that `load_model` returned:

  >>> trained = keras.Sequential([keras.layers.Dense(10, input_shape=(4,))])
  >>> model = prune_low_magnitude(trained, IterativeSparsity(0.5))
  >>> model.compile('adam', 'mse')
  >>> history = model.fit(*data, epochs=3, verbose=0,
  ...                     callbacks=[UniLTH(pretrained=True, verbose=0)])
  >>> 1 in history.history['stage'], history.history['sparsity'][-1]
  (False, 0.5)

  Compile a pretrained model with the learning rate of its training, not with a
  smaller one: a third of it gave lower accuracy
  (recipes/results/comparison/digits_and_mnist/pretrained).
  The rewind weights of its `Ticket` are the weights before `fit`. The callback
  keeps a copy of them on the host, and each checkpoint of a
  `CheckpointAndResume` contains them.

  From "A unified view of finding and transforming winning lottery tickets"
  (2022). Its public text fixes: no penalty in stage 1, stopping on the
  validation loss, a rewind of several epochs, an increasing penalty, iterative
  magnitude pruning to the end. Patience, how far to rewind, lambda, which
  weights it is on, rounds, shares and layer scope are our choices.
  """

  def __init__(
    self,
    monitor: str = 'val_loss',
    mode: str = 'auto',
    patience: int | None = 2,
    min_delta: float = 0.0,
    rewind_epochs: int | None = None,
    max_dense_fraction: float | None = None,
    finetune_fraction: float = 0.6,
    ramp: L2Ramp | None = None,
    verbose: int = 1,
    pretrained: bool = False,
  ):
    plateau = Plateau(
      monitor, mode, patience, min_delta, rewind_epochs, max_dense_fraction
    )
    super().__init__(
      Magnitude(), plateau, finetune_fraction, ramp, verbose, pretrained
    )


class UniDLTH(UnifiedTicketCallback):
  """Transforms a random subnetwork into a ticket, in the stages of `UniLTH`.

  A random order of the weights is drawn per layer from `seed` before training.
  Each round removes the next slice of it; before that, the L2 ramp moves the
  information of these weights into the others. The final mask is exactly the
  one that the seed determines. Unless the schedule sets a `scope`, small layers
  keep a larger share of their weights (Erdos-Renyi-kernel, ERK), so that none
  becomes a bottleneck.

  Args:
    monitor: as in `UniLTH`.
    mode: as in `UniLTH`.
    patience: as in `UniLTH`.
    min_delta: as in `UniLTH`.
    rewind_epochs: as in `UniLTH`.
    max_dense_fraction: as in `UniLTH`.
    finetune_fraction: as in `UniLTH`.
    ramp: as in `UniLTH`.
    seed: the seed of the random order, at least 0.
    verbose: as in `UniLTH`.
    pretrained: as in `UniLTH`: the ramp acts on the trained weights from the
      first step. A random ticket keeps little of what they have learned, so it
      needs more epochs than `UniLTH` to learn it again.

  A random ticket learns little before the other weights are removed, so its
  rounds are short and its ramp is strong (A = 10 per round, 3 in `UniLTH`).
  Pass a `warmup` to the `StagedLearningRate`: in our measurements, dense first
  steps at the full learning rate cost accuracy (docs/comparison.md).

  Raises:
    ValueError: as in `UniLTH`.
    FloatingPointError: as in `UniLTH`.

  >>> callback = UniDLTH(seed=3, ramp=L2Ramp(limit=0.1))

  From the same paper as `UniLTH`, which fixes that a randomly selected
  subnetwork is transformed, by the same two stages.
  """

  shrink_exponent = 10.0

  def __init__(
    self,
    monitor: str = 'val_loss',
    mode: str = 'auto',
    patience: int | None = 2,
    min_delta: float = 0.0,
    rewind_epochs: int | None = None,
    max_dense_fraction: float | None = None,
    finetune_fraction: float = 0.8,
    ramp: L2Ramp | None = None,
    seed: int = 0,
    verbose: int = 1,
    pretrained: bool = False,
  ):
    plateau = Plateau(
      monitor, mode, patience, min_delta, rewind_epochs, max_dense_fraction
    )
    super().__init__(
      Random(seed, 'erk'), plateau, finetune_fraction, ramp, verbose, pretrained
    )
