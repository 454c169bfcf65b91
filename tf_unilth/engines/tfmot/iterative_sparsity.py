"""IterativeSparsity as a tfmot schedule, which the wrapped layers share."""

import weakref
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from tf_unilth.engines.tfmot import fit_introspection
from tf_unilth.engines.tfmot.keras_access import PruningSchedule, register
from tf_unilth.run import run_state
from tf_unilth.schedules import iterative_sparsity as schedules

if TYPE_CHECKING:
  from tf_unilth.engines.tfmot.tracked_run import TrackedRun


@register
class IterativeSparsity(
  schedules.IterativeSparsity, tf.Module, PruningSchedule
):
  """The plain `IterativeSparsity` as a tfmot schedule with the run's state.

  Its arguments are those of the plain class.
  """

  # Copies contain the state of the run, as those of any tf.Module.
  __reduce__ = object.__reduce__

  def _init_engine(self) -> None:
    tf.Module.__init__(self, name='iterative_sparsity')
    self._run: TrackedRun | None = None
    self._sparsity: tf.Variable | None = None
    self._serialized_state: dict[str, Any] | None = None
    self._is_attached_to_run = False
    self._attached_model: Any = None

  def attach_to_run(
    self, model: Any, run: 'TrackedRun | None' = None
  ) -> 'TrackedRun':
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
      self._run = _new_run()
    self._attached_model = weakref.ref(model)
    self._is_attached_to_run = True
    self.run.has_begun.assign(True)
    return self.run

  @property
  def run(self) -> 'TrackedRun':
    """The run of the schedule, created or loaded at first use."""
    if self._run is None:
      with tf.init_scope():
        self._run = _new_run()
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
    """Returns the config of the plain class, and a state that was loaded."""
    config = super().get_config()
    if self._serialized_state is not None:
      # The schedule was loaded and is saved again before its first use.
      config['config']['run_state'] = self._serialized_state
    return config

  @classmethod
  def from_config(cls, config: dict[str, Any]) -> Any:
    """Returns a schedule from the result of `get_config`.

    Args:
      config: the result, or only its inner config.

    Raises:
      ValueError: the state of the run in it is of a newer version.
    """
    arguments = dict(config.get('config', config))
    state = arguments.pop('run_state', None)
    if state is not None:
      run_state.check_version(state)
    schedule = super().from_config(arguments)
    # Each layer loads its own copy of a shared schedule, and only one copy is
    # used. Its variables are created at first use, because a SavedModel has no
    # values for the variables of the other copies.
    schedule._serialized_state = state
    return schedule


def _new_run() -> 'TrackedRun':
  # Here, because a program that only imports tf_keras needs no run.
  from tf_unilth.engines.tfmot.tracked_run import TrackedRun

  return TrackedRun()


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
