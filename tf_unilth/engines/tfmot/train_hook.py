"""The hook of a run: puts the masked step into a model, and takes it out."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_unilth.engines.tfmot.forward_masking import HeldEvaluations
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.patches import Patches
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers
from tf_unilth.engines.tfmot.run_state import RunState
from tf_unilth.engines.tfmot.train_step import MaskedStep, Watch
from tf_unilth.schedules.l2_ramp import L2Ramp


class TrainStepHook(MaskedStep):
  """Lets a model train by masked steps, from `attach` to `detach`.

  Args:
    model: a compiled model.
    optimizer: the one that trains its wrapped layers.
    layers: its wrapped layers.
    state: the run's state.
    ramp: `None` if this run has no penalty.
  """

  def __init__(
    self,
    model: keras.Model,
    optimizer: Any,
    layers: PrunedLayers,
    state: RunState,
    ramp: L2Ramp | None,
  ):
    super().__init__(model, optimizer, layers, state, ramp)
    self._patches = Patches()
    self._functions: dict[tuple[bool, bool], Any] = {}
    self._is_attached = False
    self._is_written = False
    self.calls = 0
    self._make_train_function: Callable[..., Any] = model.make_train_function

  def attach(self, watch: 'Watch') -> None:
    """Puts the hook into the model, and `watch` around its training."""
    self._watch = watch
    self._is_attached = True
    self._make_train_function = self._model.make_train_function
    self._put_patches()
    # Keras made the train function before it told any callback of the run;
    # what is added later is silently ignored unless it is made again.
    self._model.train_function = self._train
    HeldEvaluations.put_on(
      self._model, self._layers.wrappers, self._layers.zero_pruned
    )

  def _put_patches(self) -> None:
    """Puts all that the run changes on model and optimizer, if it is not there.

    Somebody else may have replaced some of it in the meantime: theirs is called
    by ours then.
    """
    model, optimizer, patches = self._model, self._optimizer, self._patches
    if not patches.is_in_place(model, 'train_step'):
      patches.put(model, 'train_step', self._around_step(model.train_step))
    if not patches.is_in_place(optimizer, 'apply_gradients'):
      apply_gradients = self._around_apply(optimizer.apply_gradients)
      patches.put(optimizer, 'apply_gradients', apply_gradients)
    if not patches.is_in_place(model, 'make_train_function'):
      patches.put(model, 'make_train_function', self._make_anew)
    if not patches.is_in_place(model, 'compile'):
      patches.put(model, 'compile', self._around_compile(model.compile))
    for kernel in self._layers.kernels:
      for name in ('assign', 'assign_add', 'assign_sub'):
        if not patches.is_in_place(kernel.weight, name):
          assign = self._around_assign(getattr(kernel.weight, name))
          patches.put(kernel.weight, name, assign)

  def _around_compile(self, compile_model: Callable[..., None]) -> Any:
    def compile_and_arm(*args: Any, **kwargs: Any) -> None:
      compile_model(*args, **kwargs)
      # Keras goes on with a train function that is no more.
      if self._is_attached:
        self._model.make_train_function()

    return compile_and_arm

  def _around_assign(self, assign: Callable[..., Any]) -> Any:
    """Notes that somebody writes a kernel between steps."""

    def noted_assign(*args: Any, **kwargs: Any) -> Any:
      if tf.executing_eagerly() and self._step() is None:
        self._is_written = True
      return assign(*args, **kwargs)

    return noted_assign

  def was_written(self) -> bool:
    """Returns whether a kernel was written since it was last asked."""
    written, self._is_written = self._is_written, False
    return written

  def _make_anew(self, force: bool = False) -> Any:
    """Takes the place of `make_train_function`; stays armed while `fit` runs.

    Every `fit` and `train_on_batch` begins with it, those of callbacks too.
    """
    model = self._model
    if not self._watch.is_alive():
      # Our fit died where no callback was told.
      self.detach()
      self._watch.end()
      return model.make_train_function(force=force)
    if self._watch.replace():  # By one for another optimizer.
      return model.make_train_function(force=force)
    self._put_patches()
    if force or model.train_function is None:
      self._functions.clear()
    model.train_function = self._train
    return self._train

  def _train(self, iterator: Any) -> Any:
    """Takes the place of the train function, one for each kind of step."""
    if self._is_written:
      self._watch.on_write()
      self._is_written = False
    kind = self._ramps, self._masks
    is_new = kind not in self._functions
    if is_new:
      self._put_patches()
      # Ours, or what somebody has put around it.
      present = self._model.train_function
      self._functions[kind] = self._make_train_function(force=True)
      self._model.train_function = present
      self._was_traced = False
    self._is_in_function = True
    try:
      logs = self._functions[kind](iterator)
    except (StopIteration, tf.errors.OutOfRangeError):
      raise  # An epoch's end, where Keras does not know its length.
    except BaseException:
      self._watch.on_error()
      raise
    finally:
      self._is_in_function = False
    self.calls += 1
    if is_new and not self._was_traced and not self._is_asynchronous():
      raise ValueError(
        f'make_train_function of {type(self._model).__name__} must train by '
        'model.train_step, but does not: the masks cannot be held.'
      )
    return logs

  def _is_asynchronous(self) -> bool:
    """Returns whether steps are traced and run at some later time."""
    return getattr(self._model, '_cluster_coordinator', None) is not None

  def detach(self) -> None:
    """Leaves the training of the model as it was found."""
    if not self._is_attached:
      return
    self._is_attached = False
    self._patches.take_back()
    self._model.train_function = None

  def _around_step(self, train_step: Callable[..., Any]) -> Any:
    def hooked_train_step(data: Any) -> Any:
      # Somebody else may have kept it, or put theirs around it.
      if not self._is_attached or self._step() is not None:
        return train_step(data)
      return self._do_step(train_step, data)

    return hooked_train_step

  def _around_apply(self, apply_gradients: Callable[..., Any]) -> Any:
    def hooked_apply_gradients(
      grads_and_vars: Any, *args: Any, **kwargs: Any
    ) -> Any:
      step = self._step()
      # Not in a loop of the user's own, nor twice.
      if step is None or not self._is_attached or self._local.applies:
        return apply_gradients(grads_and_vars, *args, **kwargs)
      self._local.applies = True
      try:
        pairs = self._changed(step, grads_and_vars, kwargs)
        with step.trusted(but=self._unsure()):
          return apply_gradients(pairs, *args, **kwargs)
      finally:
        self._local.applies = False

    return hooked_apply_gradients


def armed_hook(model: keras.Model) -> TrainStepHook | None:
  """Returns the hook that a run has put into a model, if one has."""
  make = vars(model).get('make_train_function')
  hook = getattr(make, '__self__', None)
  return hook if isinstance(hook, TrainStepHook) else None
