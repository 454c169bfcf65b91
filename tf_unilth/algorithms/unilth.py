"""UniLTH and UniDLTH: plateau and rewind once, then ramp and cut per round."""

import dataclasses
import warnings
from typing import Any

import numpy as np

from tf_unilth.algorithms.pruning_scores import Magnitude, Random, Scores
from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.argument_checks import check_bool
from tf_unilth.engines.tfmot.plateau import Plateau
from tf_unilth.engines.tfmot.run_state import DENSE
from tf_unilth.schedules.l2_ramp import L2Ramp


class _UnifiedTicket(TicketCallback):
  """What UniLTH and UniDLTH share: all but which weights go."""

  _pace = 'cubic'
  _shrink_exponent = 3.0
  _settings: tuple[str, ...] = ('plateau',)

  def __init__(
    self,
    scores: Scores,
    plateau: Plateau,
    finetune_fraction: float,
    ramp: L2Ramp | None,
    verbose: int,
    pretrained: bool,
  ):
    ramp = L2Ramp() if ramp is None else ramp
    super().__init__(scores, ramp, finetune_fraction, verbose)
    self._pretrained = check_bool('pretrained', pretrained)
    if pretrained:
      _check_no_dense_stage(plateau)
      plateau = dataclasses.replace(plateau, patience=None)
      # Checkpoints of other runs, from before it was there too, lack it.
      self._settings = (*self._settings, 'pretrained')
    self._plateau = plateau
    self._validation_freq: Any = 1

  def _dense_epochs(self, epochs: int) -> int:
    return 0 if self._pretrained else self._plateau.dense_epochs(epochs)

  def _snapshots(self) -> int:
    return self._plateau.snapshots

  def _check_fit(self, fit: dict[str, Any]) -> None:
    self._validation_freq = fit.get('validation_freq', 1)
    if (
      self._plateau.patience is not None
      and self._plateau.monitor.startswith('val_')
      and not fit.get('has_validation', True)
    ):
      raise ValueError(
        f'monitor={self._plateau.monitor!r} needs validation data: give fit '
        'a validation_data or a validation_split.'
      )

  def _on_run_begin(self) -> None:
    if self._pretrained:
      self._begin_pretrained()
      return
    state = self._state
    state.set(stage=DENSE)
    self._plateau.keep(state, state.get('first_epoch'), self._rewindable())

  def _begin_pretrained(self) -> None:
    """Begins stage 2 at the first step."""
    self._timeline.require_steps('pretrained=True prunes from the first step')
    # What a ticket of this run is to be applied with. Copies: the variables
    # may be updated in place.
    self._rewind_weights = [
      np.array(variable.numpy()) for variable in self._layers.model_weights
    ]
    self._begin_rounds(0, 'the model is taken as trained')

  def _on_epoch(self, epoch: int, logs: dict[str, Any]) -> None:
    state = self._state
    if state.get('stage') != DENSE:
      return
    if self._plateau.patience is not None:
      self._check_monitor(epoch, logs)
    value = logs.get(self._plateau.monitor)
    if value is not None and self._plateau.watch(
      state, epoch, float(value), self._rewindable()
    ):
      self._end_dense_stage(epoch)
    elif self._dense_stage_is_over(epoch):
      self._begin_stage_2(epoch, 'the dense stage has had its share; no rewind')
    else:
      self._plateau.keep(state, epoch, self._rewindable())

  def _dense_stage_is_over(self, epoch: int) -> bool:
    since = epoch - self._state.get('first_epoch')
    return since >= self._dense_epochs(self._timeline.epochs)

  def _check_monitor(self, epoch: int, logs: dict[str, Any]) -> None:
    monitor = self._plateau.monitor
    if monitor in logs:
      if not np.isfinite(logs[monitor]):
        raise FloatingPointError(
          f'monitor={monitor!r} is {logs[monitor]} in epoch {epoch}.'
        )
    elif not monitor.startswith('val_') or self._validates(epoch):
      raise ValueError(
        f'monitor={monitor!r} is not in the logs of epoch {epoch}, which hold '
        f'{sorted(logs)}.'
      )

  def _validates(self, epoch: int) -> bool:
    """Returns whether Keras validates in an epoch, counted from 1."""
    frequency = self._validation_freq
    if isinstance(frequency, int):
      return epoch % frequency == 0
    return epoch in frequency

  def _end_dense_stage(self, epoch: int) -> None:
    """Rewinds from the plateau, and begins stage 2."""
    snapshot = self._plateau.rewinds_to(self._state, epoch)
    if self._state.get('best_epoch') <= self._state.get('first_epoch') + 1:
      warnings.warn(
        f'{type(self).__name__}: no epoch was better than the first. A plateau '
        'of a network that has not learnt makes a poor ticket: check the '
        'learning rate, or raise patience. If the model was trained before, '
        'pass pretrained=True.',
        stacklevel=2,
      )
    self._state.set(plateau_epoch=epoch)
    what = 'not rewound'
    if snapshot is not None:
      self._rewind(snapshot)
      to = snapshot.epoch
      self._state.set(rewound_to_epoch=to)
      where = f'the end of epoch {to}' if to else 'the start'
      what = f'rewound to {where}'
    self._begin_stage_2(epoch, f'{self._plateau.words}; {what}')

  def _begin_stage_2(self, epoch: int, why: str) -> None:
    step = self._timeline.step_at(epoch)
    self._state.clear_snapshots()
    self._restart_decay(self._timeline.steps - step)
    self._begin_rounds(step, f'epoch {epoch}: {why}')


def _check_no_dense_stage(plateau: Plateau) -> None:
  """Raises for arguments of a stage that a pretrained model does not get."""
  defaults = Plateau()
  for field in dataclasses.fields(Plateau):
    value = getattr(plateau, field.name)
    default = getattr(defaults, field.name)
    if value != default:
      raise ValueError(
        f'{field.name} must be left at {default!r} with pretrained=True, which '
        f'has no dense stage, but is {value!r}.'
      )


class UniLTH(_UnifiedTicket):
  """Finds a winning ticket: plateau, rewind, ramped L2, magnitude rounds.

  Stage 1 trains dense until `monitor` has not fallen for `patience` epochs and
  rewinds weights, statistics and optimizer a few epochs. Stage 2 prunes in
  rounds: the weights that must go to reach s_r, the smallest |w|, get the loss
  1/2 lambda(t) sum w^2 with a rising lambda, and at the round's end the mask
  goes to s_r by the magnitudes of then. Stage 3 finetunes what is left.

  Pass it to `fit` of a model that `prune_low_magnitude` wrapped with an
  `IterativeSparsity`; no `UpdatePruningStep` is needed. Rounds, ramp and
  finetuning share the steps that are left when stage 2 begins, so that `fit`
  ends at the target. It adds `sparsity`, `stage` (1 dense, 2 rounds, 3
  finetuning; 0 with a target of 0), `round` and `l2_lambda` to the epoch logs.

  Args:
    monitor: what stage 1 watches, a name in the epoch logs.
    mode: `'min'`, `'max'` or `'auto'`, as in Keras's `EarlyStopping`.
    patience: epochs without a fall that make a plateau, at least 1. `None`: no
      plateau, stage 1 lasts as long as it may (an ablation).
    min_delta: the least fall that counts, at least 0.
    rewind_epochs: how many epochs before the plateau to rewind to, at least 0;
      0 is no rewind (an ablation). `None`: to the lowest epoch.
    max_dense_fraction: the largest share of the epochs for stage 1, in (0, 1).
      `None`: a fifth, but patience + 2 epochs at least.
    finetune_fraction: the share of stages 2 and 3 for stage 3, in [0, 1]; 1
      cuts all at once.
    ramp: the penalty. `None`: a ramp whose limit follows from its strength;
      `L2Ramp(limit=0)`: none (an ablation).
    verbose: 0 is silent, 1 a line per event, 2 a line per round too.
    pretrained: whether the model is trained already. `True`: no stage 1, so no
      plateau and no rewind; the rounds begin at the first step, a
      `StagedLearningRate` decays once over all epochs, and no validation data
      are needed. The arguments from `monitor` to `max_dense_fraction` are then
      left at their defaults.

  Raises:
    ValueError: an argument is out of its range, or of a stage that
      `pretrained` leaves out; in `fit`, whatever would keep it from ending at
      the target.
    FloatingPointError: in `fit`, a wrapped weight or the loss is not finite.

  >>> model = keras.Sequential([keras.layers.Dense(10, input_shape=(4,))])
  >>> model = prune_low_magnitude(model, IterativeSparsity(0.5))
  >>> model.compile('sgd', 'mse')
  >>> data = np.ones((8, 4), 'float32'), np.ones((8, 10), 'float32')
  >>> history = model.fit(*data, validation_data=data, epochs=5, verbose=0,
  ...                     callbacks=[UniLTH(verbose=0)])
  >>> history.history['sparsity'][-1]
  0.5

  A model that is trained already, such as one that `load_model` returned:

  >>> trained = keras.Sequential([keras.layers.Dense(10, input_shape=(4,))])
  >>> model = prune_low_magnitude(trained, IterativeSparsity(0.5))
  >>> model.compile('adam', 'mse')
  >>> history = model.fit(*data, epochs=3, verbose=0,
  ...                     callbacks=[UniLTH(pretrained=True, verbose=0)])
  >>> 1 in history.history['stage'], history.history['sparsity'][-1]
  (False, 0.5)

  Compile it with the learning rate of its training, not with a smaller one: a
  third of it ended lower where it was measured (recipes/results/pretrained).
  A `Ticket` of such a run has the weights that the model came with as its
  rewind weights; the callback keeps a copy of them on the host, and so does
  each checkpoint of a `CheckpointAndResume`.

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


class UniDLTH(_UnifiedTicket):
  """Makes a random subnetwork win: as `UniLTH`, but the ticket is drawn.

  The weights that go in round r are the next slice of one random order, drawn
  per layer from `seed` before training; the ramp extrudes what they know into
  the rest before they are cut. It ends with exactly the ticket that the seed
  drew. Unless the schedule has a `scope`, small layers keep more of their
  weights (Erdos-Renyi-kernel, ERK), so that none of them strangles the rest.

  Args:
    monitor: as in `UniLTH`.
    mode: as in `UniLTH`.
    patience: as in `UniLTH`.
    min_delta: as in `UniLTH`.
    rewind_epochs: as in `UniLTH`.
    max_dense_fraction: as in `UniLTH`.
    finetune_fraction: as in `UniLTH`.
    ramp: as in `UniLTH`.
    seed: what the ticket is drawn from, at least 0.
    verbose: as in `UniLTH`.
    pretrained: as in `UniLTH`: the ramp works on the trained weights from the
      first step. A random ticket keeps little of what they know: it takes more
      epochs to learn it again than `UniLTH` does.

  A random ticket learns little before it stands alone, so its rounds are short
  and its ramp is strong (A = 10 a round, where UniLTH's has 3). Give the
  `StagedLearningRate` a `warmup`: where it was measured, first dense steps at
  the full learning rate cost the ticket points (docs/comparison.md).

  Raises:
    ValueError: as in `UniLTH`.
    FloatingPointError: as in `UniLTH`.

  >>> callback = UniDLTH(seed=3, ramp=L2Ramp(limit=0.1))

  From the same paper as `UniLTH`, which fixes that a randomly selected
  subnetwork is transformed, by the same two stages.
  """

  _shrink_exponent = 10.0

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
