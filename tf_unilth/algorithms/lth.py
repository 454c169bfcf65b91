"""LTH: iterative magnitude pruning with rewinding."""

import sys
import warnings

from tf_unilth.algorithms.pruning_scores import Magnitude
from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.argument_checks import check_int, check_option
from tf_unilth.engines.tfmot import optimizer_traits
from tf_unilth.engines.tfmot.run_state import PRUNING

# Weights of shorter trainings have learned little: at equal epochs, fewer and
# longer rounds gave better tickets.
_MIN_EPOCHS_PER_TRAINING = 3

REWINDS = ('weights', 'learning_rate')


class LTH(TicketCallback):
  """Finds a winning ticket: train, prune by magnitude, rewind, repeat.

  Each round trains the model, prunes the weights with the smallest |w|, and
  rewinds the others to their values at `rewind_step`, with the statistics and
  the optimizer. A last training with the final mask follows. All trainings
  share the epochs of `fit` evenly, with at least three epochs each unless the
  schedule sets `rounds`, and each gets a full decay of a `StagedLearningRate`.

  Args:
    rewind: `'weights'`, or `'learning_rate'` to keep the weights and rewind
      only the learning-rate schedule, which must be a `StagedLearningRate`.
    rewind_step: the training step of this `fit` to which the weights are
      rewound, at least 0 and before the end of the first round. 0 is the start
      of `fit`; above 0 is late rewinding.
    verbose: 0 is silent, 1 prints a line per event, 2 a line per round too.

  Raises:
    ValueError: an argument is out of its range; in `fit`, the target cannot be
      reached.
    FloatingPointError: in `fit`, a weight, an optimizer slot or the loss is not
      finite.

  >>> callback = LTH(rewind_step=500)

  A model that is already trained needs no argument: with `rewind_step=0`, LTH
  rewinds to the trained weights, as in lottery tickets of pretrained networks
  (Chen et al. 2020). The model still trains before the first pruning, since
  this training is on the new task. `UniLTH(pretrained=True)` does not rewind
  between rounds, and needs fewer epochs.

  From Frankle & Carbin (2019); late rewinding Frankle et al. (2019);
  learning-rate rewinding Renda et al. (2020). They give each round the full
  number of epochs; to share one budget is our choice, for comparisons at
  equal cost. For the papers' cost, give rounds + 1 times the epochs.
  """

  _extra_settings = ('rewind_step', 'rewinds_weights')
  _warns_of_fewer_rounds = True

  def __init__(
    self, rewind: str = 'weights', rewind_step: int = 0, verbose: int = 1
  ):
    super().__init__(Magnitude(), None, 0.0, verbose)
    rewind = check_option('rewind', rewind, REWINDS)
    rewind_step = check_int('rewind_step', rewind_step, 0)
    if rewind == 'learning_rate' and rewind_step:
      raise ValueError(
        "rewind_step must be 0 with rewind='learning_rate', but is "
        f'{rewind_step}.'
      )
    self._rewind_step = rewind_step
    self._rewinds_weights = rewind == 'weights'

  def _shortest_round(self) -> int:
    return _MIN_EPOCHS_PER_TRAINING * self._state.get('steps_per_epoch')

  def _finetune_share(self, rounds: int) -> float:
    return 1 / (rounds + 1)

  def _snapshot_count(self) -> int:
    return int(self._rewinds_weights)

  def _on_run_begin(self) -> None:
    self._check_learning_rate()
    self._state.set(stage=PRUNING)
    explicit = self._pruner.explicit_rounds
    if self._timeline.steps:
      self._begin_trainings()
    elif explicit and explicit >= self._timeline.epochs:
      self._timeline.require_steps('the first round ends in the first epoch')

  def _on_epoch(self, epoch: int, logs: dict) -> None:
    if not self._state.get('rounds'):
      self._begin_trainings()  # The steps per epoch are known now.

  def _begin_trainings(self) -> None:
    self._begin_rounds(0, 'each round trains, prunes and rewinds')
    first = self._timeline.round_end(1)
    if self._rewind_step >= first:
      raise ValueError(
        'rewind_step must be before the end of the first round, step '
        f'{first}, but is {self._rewind_step}.'
      )
    per_epoch = self._state.get('steps_per_epoch')
    if first < per_epoch:
      warnings.warn(
        f'LTH: each training has {first} steps, less than an epoch of '
        f'{per_epoch}, so the pruned weights have learned little. Use more '
        'epochs or fewer rounds.',
        stacklevel=2,
      )
    self._state.set(decay_steps=first)
    self._restart_learning_rate()

  def _next_event(self) -> int:
    if not self._rewinds_weights or self._state.get('stage') != PRUNING:
      return sys.maxsize
    taken = self._state.snapshots[0].taken
    return sys.maxsize if taken else self._rewind_step

  def _on_event(self, step: int) -> None:
    # With several steps per execution it may be later than requested.
    self._state.set(rewind_step=step)
    self._state.snapshots[0].take(
      self._rewindable_variables(), self._state.get('next_epoch')
    )

  def _on_round_end(self) -> None:
    if self._rewinds_weights:
      self._rewind(self._state.snapshots[0])
    timeline, number = self._timeline, self.rounds
    end = timeline.steps
    if number < self._state.get('rounds'):
      end = timeline.round_end(number + 1)
    steps = end - timeline.round_end(number)
    done = self._state.get('rewind_step') if self._rewinds_weights else 0
    self._restart_decay(steps, done)

  def _check_learning_rate(self) -> None:
    schedule = optimizer_traits.learning_rate_schedule(self._optimizer)
    if optimizer_traits.staged_learning_rate(self._optimizer) is not None:
      return
    if not self._rewinds_weights:
      raise ValueError(
        "rewind='learning_rate' needs a tf_unilth.StagedLearningRate as the "
        f"optimizer's learning rate, but it is {schedule or 'a number'}."
      )
    if schedule is not None:
      warnings.warn(
        f'the learning rate is a {type(schedule).__name__} over the whole '
        'run, so each round uses only its beginning. Use a '
        'tf_unilth.StagedLearningRate.',
        stacklevel=2,
      )
