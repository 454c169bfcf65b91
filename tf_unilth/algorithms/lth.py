"""LTH: iterative magnitude pruning with rewinding."""

from collections.abc import Mapping
from typing import Any

from tf_unilth.algorithms.algorithm import NEVER
from tf_unilth.algorithms.pruning_run import PruningRun
from tf_unilth.algorithms.pruning_scores import Magnitude
from tf_unilth.algorithms.ticket_callback import TicketCallback
from tf_unilth.argument_checks import check_int, check_option
from tf_unilth.run.run_state import PRUNING
from tf_unilth.schedules.staged_learning_rate import StagedLearningRate
from tf_unilth.user_warning import warn_user

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

  extra_settings = ('rewind_step', 'rewinds_weights')
  warns_of_fewer_rounds = True

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
    self.rewind_step = rewind_step
    self.rewinds_weights = rewind == 'weights'
    self.snapshot_count = int(self.rewinds_weights)

  def shortest_round(self, run: PruningRun) -> int:
    """Returns the training steps of the shortest training."""
    return _MIN_EPOCHS_PER_TRAINING * run.state.steps_per_epoch

  def finetune_share(self, rounds: int) -> float:
    """Returns the share of the last training, which is as long as each."""
    return 1 / (rounds + 1)

  def on_run_begin(self, run: PruningRun) -> None:
    """Begins the first training."""
    self._check_learning_rate(run)
    run.state.stage = PRUNING
    explicit = run.pruner.explicit_rounds
    if run.timeline.steps:
      self._begin_trainings(run)
    elif explicit and explicit >= run.timeline.epochs:
      run.timeline.require_steps('the first round ends in the first epoch')

  def on_epoch(
    self, run: PruningRun, epoch: int, logs: Mapping[str, Any]
  ) -> None:
    """Plans the trainings once the steps per epoch are known."""
    if not run.state.rounds:
      self._begin_trainings(run)

  def _begin_trainings(self, run: PruningRun) -> None:
    run.rounds.begin(0, 'each round trains, prunes and rewinds')
    first = run.timeline.round_end(1)
    if self.rewind_step >= first:
      raise ValueError(
        'rewind_step must be before the end of the first round, step '
        f'{first}, but is {self.rewind_step}.'
      )
    per_epoch = run.state.steps_per_epoch
    if first < per_epoch:
      warn_user(
        f'LTH: each training has {first} steps, less than an epoch of '
        f'{per_epoch}, so the pruned weights have learned little. Use more '
        'epochs or fewer rounds.',
      )
    run.state.decay_steps = first
    run.restart_learning_rate()

  def next_event(self, run: PruningRun) -> int:
    """Returns the step of the snapshot, until it is taken."""
    if not self.rewinds_weights or run.state.stage != PRUNING:
      return NEVER
    return NEVER if run.state.snapshots[0].taken else self.rewind_step

  def on_event(self, run: PruningRun, step: int) -> None:
    """Takes the snapshot."""
    # With several steps per execution it may be later than requested.
    run.state.rewind_step = step
    values = run.engine.read_variables()
    run.state.snapshots[0].take(values, run.state.next_epoch)

  def on_round_end(self, run: PruningRun) -> None:
    """Rewinds the weights, or the learning rate alone."""
    state, timeline = run.state, run.timeline
    if self.rewinds_weights:
      run.rewind(state.snapshots[0])
    end = timeline.steps
    if state.round < state.rounds:
      end = timeline.round_end(state.round + 1)
    steps = end - timeline.round_end(state.round)
    run.restart_decay(steps, state.rewind_step if self.rewinds_weights else 0)

  def _check_learning_rate(self, run: PruningRun) -> None:
    schedule = run.engine.learning_rate_schedule()
    if isinstance(schedule, StagedLearningRate):
      return
    if not self.rewinds_weights:
      raise ValueError(
        "rewind='learning_rate' needs a tf_unilth.StagedLearningRate as the "
        f"optimizer's learning rate, but it is {schedule or 'a number'}."
      )
    if schedule is not None:
      warn_user(
        f'the learning rate is a {type(schedule).__name__} over the whole '
        'run, so each round uses only its beginning. Use a '
        'tf_unilth.StagedLearningRate.',
      )
