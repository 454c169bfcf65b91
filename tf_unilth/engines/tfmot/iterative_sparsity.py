"""IterativeSparsity: the pruning schedule of the ticket algorithms."""

import uuid
import weakref
from typing import Any

import tensorflow as tf

from tf_unilth.argument_checks import check_float, check_int, check_option
from tf_unilth.engines.tfmot import fit_introspection
from tf_unilth.engines.tfmot.keras_access import (
  PruningSchedule,
  register,
  registered_config,
)
from tf_unilth.engines.tfmot.tracked_run import TrackedRun
from tf_unilth.selection import layer_shares, round_sparsity

# Without a ticket callback, the graph contains a table of all rounds.
_MAX_STANDALONE_ROUNDS = 100_000


@register
class IterativeSparsity(tf.Module, PruningSchedule):
  """Prunes in rounds to a target sparsity.

  Round r = 1 ... R prunes to the sparsity s_r = 1 - (1 - s)^(r / R) (geometric)
  or s_r = s (1 - (1 - r / R)^3) (cubic). Exactly round(s_r * n) of the n
  wrapped weights that share the schedule are then zero. Layers with different
  schedules are ranked separately, each to its own target. A schedule serves one
  model.

  Layers wrapped with tfmot's `block_size` or `sparsity_m_by_n` are pruned by
  blocks or groups. All layers that share a schedule must have the same units.
  Exactly round(s_r * n) of n blocks are pruned, or round(s_r / s * n) of n
  groups. The last round prunes all groups, so the target sparsity must be the
  m / n of `sparsity_m_by_n`.

  With a ticket callback (`UniLTH`, `UniDLTH`, `LTH`, `DLTH`), the callback ends
  the rounds and writes the masks. Without one, and with a `begin_step`, it is
  an ordinary tfmot schedule for `UpdatePruningStep`: round r is at pruning step
  begin_step + (r - 1) * frequency, and tfmot ranks each layer separately.

  Args:
    target_sparsity: s, the fraction of zeros in [0, 1). 0 disables pruning.
      With `sparsity_m_by_n=(m, n)` it is m / n, to six digits, or 0.
    prune_fraction: p, the largest fraction of the remaining weights that a
      round prunes, in (0, 1). Determines the number of rounds.
    rounds: R, at least 1. `None` derives it from `prune_fraction`, with fewer
      rounds if the budget is short. A given number that does not fit the budget
      raises an error in `fit`.
    pace: `'geometric'` or `'cubic'`. `None` is cubic for UniLTH and UniDLTH,
      geometric for LTH and DLTH.
    scope: `'global'` ranks all weights together, `'layer'` prunes each layer to
      the same sparsity, and `'erk'` to the Erdos-Renyi-kernel sparsity. Random
      tickets (UniDLTH, DLTH) are always drawn per layer, so `'global'` is the
      same as `'layer'`. `None` is global for UniLTH and LTH, erk for UniDLTH,
      layer for DLTH.
    begin_step: the pruning step of the first round without a ticket callback,
      at least 1. tfmot counts from 1. `None` requires a ticket callback.
    frequency: pruning steps between rounds without a ticket callback, at least
      1.

  Raises:
    ValueError: an argument is out of range.

  >>> schedule = IterativeSparsity(0.9, rounds=2, begin_step=10, frequency=5)
  >>> [(bool(fire), round(float(sparsity), 3))
  ...  for fire, sparsity in map(schedule, (9, 10, 14, 15, 20))]
  [(False, 0.0), (True, 0.788), (False, 0.788), (True, 0.9), (False, 0.9)]

  Geometric rounds with p = 0.2 are from LTH (Frankle & Carbin 2019), the cubic
  pace is from Zhu & Gupta (2017). The UniLTH paper says only "iterative
  magnitude pruning"; its pace, rounds and scope are this library's choice.
  """

  def __init__(
    self,
    target_sparsity: float,
    prune_fraction: float = 0.2,
    rounds: int | None = None,
    pace: str | None = None,
    scope: str | None = None,
    begin_step: int | None = None,
    frequency: int = 100,
  ):
    super().__init__(name='iterative_sparsity')
    self.target_sparsity = float(
      check_float('target_sparsity', target_sparsity, '[0, 1)')
    )
    self.prune_fraction = float(
      check_float('prune_fraction', prune_fraction, '(0, 1)')
    )
    self.rounds = check_int('rounds', rounds, 1, none=True)
    self.pace = check_option('pace', pace, round_sparsity.PACES, none=True)
    self.scope = check_option('scope', scope, layer_shares.SCOPES, none=True)
    self.begin_step = check_int('begin_step', begin_step, 1, none=True)
    self.frequency = check_int('frequency', frequency, 1)
    needed = self.rounds_needed('cubic') if begin_step is not None else 0
    if needed > _MAX_STANDALONE_ROUNDS:
      raise ValueError(
        f'begin_step needs {_MAX_STANDALONE_ROUNDS} rounds at most, but rounds='
        f'{rounds} and prune_fraction={self.prune_fraction} give {needed}.'
      )
    # Identifies the layers that share a schedule when a model is loaded.
    self.group = uuid.uuid4().hex
    self._run: TrackedRun | None = None
    self._sparsity: tf.Variable | None = None
    self._serialized_state: dict[str, Any] | None = None
    self._is_attached_to_run = False
    self._attached_model: Any = None

  def attach_to_run(
    self, model: Any, run: TrackedRun | None = None
  ) -> TrackedRun:
    """Attaches the schedule to a ticket callback; returns its run.

    Args:
      model: the model to train. If the schedule was attached to another model,
        it begins a new run.
      run: the run of another schedule of the model, to share it.
    """
    previous = (
      self._attached_model() if self._attached_model is not None else model
    )
    if run is not None:
      self._run = run
    elif previous is not model:
      self._run = TrackedRun()
    self._attached_model = weakref.ref(model)
    self._is_attached_to_run = True
    self.run.has_begun.assign(True)
    return self.run

  @property
  def run(self) -> TrackedRun:
    """The run of the schedule, created or loaded at first use."""
    if self._run is None:
      with tf.init_scope():
        self._run = TrackedRun()
        if self._serialized_state is not None:
          self._run.load(self._serialized_state)
          self._serialized_state = None
    return self._run

  @property
  def has_loaded_run(self) -> bool:
    """Whether a loaded state is waiting for its first use."""
    return self._serialized_state is not None

  @property
  def sparsity(self) -> tf.Variable:
    """The fraction of pruned weights, in [0, 1)."""
    if self._sparsity is None:
      with tf.init_scope():
        self._sparsity = tf.Variable(0.0, trainable=False)
    return self._sparsity

  @property
  def was_attached(self) -> bool:
    """Whether a ticket callback was attached in this process."""
    return self._is_attached_to_run

  def sparsity_at(self, completed: int, rounds: int, pace: str) -> float:
    """Returns the sparsity s_r after a round, in [0, 1).

    Args:
      completed: r, the number of completed rounds, in [0, rounds].
      rounds: R, at least 1.
      pace: the pace if the schedule sets none.
    """
    return round_sparsity.sparsity_at_round(
      self.target_sparsity, completed, rounds, self.pace or pace
    )

  def rounds_needed(self, pace: str) -> int:
    """Returns `rounds`, or the number of rounds that `prune_fraction` needs.

    Args:
      pace: the pace if the schedule sets none.
    """
    return self.rounds or round_sparsity.rounds_needed(
      self.target_sparsity, self.prune_fraction, self.pace or pace
    )

  def __call__(self, step: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns whether tfmot prunes at a step, and the sparsity.

    Args:
      step: tfmot's `pruning_step`, which is 1 at the first training step.

    Returns:
      A boolean and a float32 tensor. The boolean is False with a ticket
      callback, which writes the masks itself.

    Raises:
      ValueError: `fit` runs without `begin_step` and without a ticket callback.
    """
    if self._is_attached_to_run:
      return tf.constant(False), tf.identity(self.sparsity)
    under_callback = self.run.has_begun.read_value()
    if self.begin_step is None:
      # Without an error, the run would end dense.
      if not self._has_begun() and fit_introspection.is_training():
        raise missing_callback_error()
      tf.debugging.assert_equal(
        under_callback,
        True,
        'IterativeSparsity without begin_step needs a ticket callback: pass '
        'UniLTH(), UniDLTH(), LTH() or DLTH() of tf_unilth to fit, or set '
        'begin_step.',
      )
      return tf.constant(False), tf.identity(self.sparsity)
    fires, sparsity = self._standalone(tf.cast(step, tf.int64))
    return (
      tf.logical_and(fires, tf.logical_not(under_callback)),
      tf.where(under_callback, self.sparsity, sparsity),
    )

  def _has_begun(self) -> bool:
    with tf.init_scope():
      return self.run.state.begun

  def _standalone(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns what `__call__` does if there is no ticket callback."""
    rounds = self.rounds_needed('cubic')
    sparsities = tf.constant(
      [self.sparsity_at(r, max(rounds, 1), 'cubic') for r in range(rounds)]
      + [self.target_sparsity]
    )
    since = step - self.begin_step
    completed = tf.clip_by_value(since // self.frequency + 1, 0, rounds)
    in_range = (since >= 0) & (since < rounds * self.frequency)
    fires = in_range & (since % self.frequency == 0)
    return fires, tf.gather(sparsities, completed)

  def with_target(self, target_sparsity: float) -> 'IterativeSparsity':
    """Returns a copy with another target, for layers ranked separately.

    Args:
      target_sparsity: the fraction of zeros in [0, 1).
    """
    arguments = self._arguments() | {'target_sparsity': target_sparsity}
    return IterativeSparsity(**arguments)

  def _arguments(self) -> dict[str, Any]:
    return {
      'target_sparsity': self.target_sparsity,
      'prune_fraction': self.prune_fraction,
      'rounds': self.rounds,
      'pace': self.pace,
      'scope': self.scope,
      'begin_step': self.begin_step,
      'frequency': self.frequency,
    }

  def _trackable_children(
    self, save_type: str = 'checkpoint', **kwargs: Any
  ) -> dict[str, Any]:
    children = super()._trackable_children(save_type, **kwargs)
    if save_type != 'savedmodel':
      return children
    # Keras replaces children by plain objects when it loads their names. The
    # prefix prevents this: only the graph needs these variables, and a loaded
    # schedule creates its own from its config.
    return {f'of_graph{name}': child for name, child in children.items()}

  def get_config(self) -> dict[str, Any]:
    """Returns the registered class name and a config, as tfmot does.

    The config has the arguments and the group, which lets loaded layers share a
    schedule again.
    """
    config = {**self._arguments(), 'group': self.group}
    if self._serialized_state is not None:
      # The schedule was loaded and is saved again before its first use.
      config['run_state'] = self._serialized_state
    return registered_config(self, config)

  @classmethod
  def from_config(cls, config: dict[str, Any]) -> 'IterativeSparsity':
    """Returns a schedule from the result of `get_config`.

    Args:
      config: the result, or only its inner config.
    """
    arguments = dict(config.get('config', config))
    group = arguments.pop('group', None)
    state = arguments.pop('run_state', None)
    schedule = cls(**arguments)
    if group is not None:
      schedule.group = group
    # Each layer loads its own copy of a shared schedule, and only one copy is
    # used. Its variables are created at first use, because a SavedModel has no
    # values for the variables of the other copies.
    schedule._serialized_state = state
    return schedule


def missing_callback_error() -> ValueError:
  """Returns the error for training without a ticket callback."""
  if fit_introspection.is_training('train_on_batch'):
    how = (
      'use a keras.callbacks.CallbackList with tf_unilth.UniLTH() around '
      'train_on_batch'
    )
  else:
    how = 'pass callbacks=[tf_unilth.UniLTH()] to fit'
  error = ValueError(
    'the wrapped layers need a ticket callback, but training runs without one: '
    f'{how}, or LTH(), DLTH() or UniDLTH().'
  )
  # Prevents TensorFlow and Keras from appending long call details.
  error.ag_pass_through = True  # type: ignore[attr-defined]
  error._keras_call_info_injected = True  # type: ignore[attr-defined]
  return error
