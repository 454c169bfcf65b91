"""IterativeSparsity: the tfmot pruning schedule of all ticket algorithms."""

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
from tf_unilth.engines.tfmot.run_state import NOT_BEGUN, RunState
from tf_unilth.selection import layer_shares, round_sparsity

# Rounds without a ticket callback, which the graph holds a table of.
_MOST_FIRED = 100_000


@register
class IterativeSparsity(tf.Module, PruningSchedule):
  """Prunes in rounds to a target sparsity.

  Round r = 1 ... R leads to s_r = 1 - (1 - s)^(r / R) (geometric) or
  s_r = s (1 - (1 - r / R)^3) (cubic), to exactly round(s_r * n) zeros over the
  n wrapped weights that share this object. Wrap layers with an object of their
  own to rank them apart, each to its own target. One object serves one model.

  Layers wrapped with tfmot's `block_size` or `sparsity_m_by_n` go by blocks or
  groups, and all that share this object must have the same. Then exactly
  round(s_r * n) of n blocks are cut, or round(s_r / s * n) of n groups: in the
  end all groups, so that their target is the m / n of `sparsity_m_by_n`.

  Under a ticket callback (`UniLTH`, `UniDLTH`, `LTH`, `DLTH`) the callback
  says when a round ends and writes the masks. Without one, and with a
  `begin_step`, it is an ordinary tfmot schedule for `UpdatePruningStep`: round
  r falls at pruning step begin_step + (r - 1) * frequency, and tfmot ranks
  each layer apart.

  Args:
    target_sparsity: s, fraction of zeros in [0, 1). 0 makes everything inert;
      under `sparsity_m_by_n=(m, n)` it is m / n, to six digits, or 0.
    prune_fraction: p, the largest share of the survivors that a round removes,
      in (0, 1); gives the number of rounds.
    rounds: R, at least 1. `None`: as `prune_fraction` says, or fewer where the
      budget is short; an explicit number that does not fit is an error.
    pace: `'geometric'` or `'cubic'`. `None`: what suits the algorithm, cubic
      for UniLTH and UniDLTH, geometric for LTH and DLTH.
    scope: `'global'` ranks all weights together, `'layer'` gives each layer
      the same sparsity, `'erk'` the Erdos-Renyi-kernel one. Random tickets
      (UniDLTH, DLTH) are always drawn per layer, `'global'` being `'layer'`.
      `None`: what suits the algorithm, global for UniLTH and LTH, erk for
      UniDLTH, layer for DLTH.
    begin_step: pruning step (tfmot's, which starts at 1) of the first round,
      at least 1, for use without a ticket callback. `None`: for use with one.
    frequency: pruning steps between two rounds without a ticket callback, at
      least 1.

  Raises:
    ValueError: an argument is out of its range.

  >>> schedule = IterativeSparsity(0.9, rounds=2, begin_step=10, frequency=5)
  >>> [(bool(fire), round(float(sparsity), 3))
  ...  for fire, sparsity in map(schedule, (9, 10, 14, 15, 20))]
  [(False, 0.0), (True, 0.788), (False, 0.788), (True, 0.9), (False, 0.9)]

  Geometric rounds with p = 0.2 are LTH's (Frankle & Carbin 2019), the cubic
  pace is Zhu & Gupta's (2017). The UniLTH text says "iterative magnitude
  pruning" and no more; pace, rounds and scope there are our choice.
  """

  _state: RunState | None = None
  _sparsity: tf.Variable | None = None

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
    if begin_step is not None and self.rounds_needed('cubic') > _MOST_FIRED:
      raise ValueError(
        f'begin_step needs {_MOST_FIRED} rounds at most, but with rounds='
        f'{rounds} and prune_fraction={self.prune_fraction} there are '
        f'{self.rounds_needed("cubic")}.'
      )
    # Layers of one model that were saved and loaded know each other by it.
    self.group = uuid.uuid4().hex
    self._serialized_state: dict[str, Any] | None = None
    self._is_attached_to_run = False
    self._attached_model: Any = None

  def attach_to_run(
    self, model: Any, state: RunState | None = None
  ) -> RunState:
    """Hands the schedule to a ticket callback; returns the run's state.

    Args:
      model: the model that is trained. A schedule that was used for another
        one starts afresh: that one's round and snapshots are not this one's.
      state: the state to share with other schedules of the model.
    """
    known = (
      self._attached_model() if self._attached_model is not None else model
    )
    if state is not None:
      self._state = state
    elif known is not model:
      self._state = RunState()
    self._attached_model = weakref.ref(model)
    self._is_attached_to_run = True
    return self.state

  @property
  def state(self) -> RunState:
    """The state of the run that it is part of."""
    if self._state is None:
      with tf.init_scope():
        self._state = RunState()
        if self._serialized_state is not None:
          self._state.load(self._serialized_state)
          self._serialized_state = None
    return self._state

  @property
  def has_loaded_run(self) -> bool:
    """Whether a run was loaded with it that nothing has looked at yet."""
    return self._serialized_state is not None

  @property
  def sparsity(self) -> tf.Variable:
    """The fraction of its weights that is pruned, in [0, 1)."""
    if self._sparsity is None:
      with tf.init_scope():
        self._sparsity = tf.Variable(0.0, trainable=False)
    return self._sparsity

  @property
  def was_attached(self) -> bool:
    """Whether a ticket callback has driven it in this process."""
    return self._is_attached_to_run

  def sparsity_at(self, completed: int, rounds: int, pace: str) -> float:
    """Returns s_r after `completed` of `rounds` rounds, in [0, 1)."""
    return round_sparsity.sparsity_at_round(
      self.target_sparsity, completed, rounds, self.pace or pace
    )

  def rounds_needed(self, pace: str) -> int:
    """Returns `rounds`, or the number that `prune_fraction` asks for."""
    return self.rounds or round_sparsity.rounds_needed(
      self.target_sparsity, self.prune_fraction, self.pace or pace
    )

  def __call__(self, step: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns whether tfmot shall prune at this step, and to what sparsity.

    Args:
      step: tfmot's `pruning_step`, which is 1 at the first training step.

    Returns:
      A boolean and a float32 tensor. Never true under a ticket callback.
    """
    if self._is_attached_to_run:
      return tf.constant(False), tf.identity(self.sparsity)
    driven = self.state.stage > NOT_BEGUN
    if self.begin_step is None:
      # Silence here would be a run that ends dense.
      if not self._has_begun() and fit_introspection.is_training():
        raise forgotten_callback()
      tf.debugging.assert_equal(
        driven,
        True,
        'IterativeSparsity without begin_step prunes only under a callback '
        'of tf_unilth: pass UniLTH(), UniDLTH(), LTH() or DLTH() to fit, or '
        'give the schedule a begin_step.',
      )
      return tf.constant(False), tf.identity(self.sparsity)
    fires, sparsity = self._standalone(tf.cast(step, tf.int64))
    return (
      tf.logical_and(fires, tf.logical_not(driven)),
      tf.where(driven, self.sparsity, sparsity),
    )

  def _has_begun(self) -> bool:
    with tf.init_scope():
      return self.state.begun

  def _standalone(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
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
    """Returns another schedule like this one, for layers ranked apart."""
    given = self._arguments() | {'target_sparsity': target_sparsity}
    return IterativeSparsity(**given)

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
    # Loading puts plain objects in the place of what it finds under its name.
    # The graph needs the variables, a schedule gets its own from its config.
    return {f'of_graph{name}': child for name, child in children.items()}

  def get_config(self) -> dict[str, Any]:
    """Returns tfmot's form: the registered class name and the arguments.

    With them stands the group, so that layers that share a schedule do so
    again when they are loaded, each with a copy of it.
    """
    config = {**self._arguments(), 'group': self.group}
    if self._serialized_state is not None:
      config['run_state'] = (
        self._serialized_state
      )  # Saved again before it was used.
    return registered_config(self, config)

  @classmethod
  def from_config(cls, config: dict[str, Any]) -> 'IterativeSparsity':
    """Returns a schedule from `get_config`'s dict, or its inner one."""
    given = dict(config.get('config', config))
    group = given.pop('group', None)
    state = given.pop('run_state', None)
    schedule = cls(**given)
    if group is not None:
      schedule.group = group
    schedule._serialized_state = state
    # Layers that share a schedule load a copy each, of which one will be
    # used. A SavedModel could not bind the others' variables to anything.
    return schedule


def forgotten_callback() -> ValueError:
  """Returns the error of a `fit` without a ticket callback."""
  if fit_introspection.is_training('train_on_batch'):
    how = (
      'train_on_batch takes none: put tf_unilth.UniLTH() into a '
      'keras.callbacks.CallbackList around the training loop'
    )
  else:
    how = 'give fit callbacks=[tf_unilth.UniLTH()]'
  error = ValueError(
    'the wrapped layers are pruned by a callback, but training goes on without '
    f'one: {how}, or LTH(), DLTH() or UniDLTH().'
  )
  # Neither TensorFlow nor Keras need add pages on where it comes from.
  error.ag_pass_through = True  # type: ignore[attr-defined]
  error._keras_call_info_injected = True  # type: ignore[attr-defined]
  return error
