"""The train step hook: installs the masked step in a model and removes it."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_unilth.engines.patches import Patches
from tf_unilth.engines.tfmot.forward_masking import HeldEvaluations
from tf_unilth.engines.tfmot.keras_access import keras
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers
from tf_unilth.engines.tfmot.ramp_variables import RampVariables
from tf_unilth.engines.tfmot.train_step import MaskedStep, Watch
from tf_unilth.schedules.l2_ramp import L2Ramp


class TrainStepHook(MaskedStep):
  """Makes a model train by masked steps, from `attach` to `detach`.

  Args:
    model: a compiled model.
    optimizer: the optimizer that trains its wrapped layers.
    layers: its wrapped layers.
    variables: what the step reads of the ramp.
    ramp: the L2 ramp; `None` for a run without a penalty.
  """

  def __init__(
    self,
    model: keras.Model,
    optimizer: Any,
    layers: PrunedLayers,
    variables: RampVariables,
    ramp: L2Ramp | None,
  ):
    super().__init__(model, optimizer, layers, variables, ramp)
    self._patches = Patches()
    self._functions: dict[tuple[bool, bool], Any] = {}
    self._is_attached = False
    self._is_written = False
    self.calls = 0  # Completed calls of the train function.
    self._make_train_function: Callable[..., Any] = model.make_train_function

  def attach(self, watch: 'Watch') -> None:
    """Installs the hook in the model.

    Args:
      watch: connects the hook to the training around the run.
    """
    self._watch = watch
    self._is_attached = True
    self._make_train_function = self._model.make_train_function
    self._set_patches()
    # Keras makes the train function before it calls any callback, and a
    # function that is already made ignores later patches. So replace it.
    self._model.train_function = self._train
    HeldEvaluations.put_on(
      self._model, self._layers.wrappers, self._layers.zero_pruned
    )

  def _set_patches(self) -> None:
    """Sets the patches on model, optimizer and kernels that are not in place.

    Other code may have replaced some of them in the meantime. The new patch
    then calls the replacement.
    """
    model, optimizer, patches = self._model, self._optimizer, self._patches
    if not patches.is_set(model, 'train_step'):
      step = self._wrap_train_step(model.train_step)
      patches.set('model', model, 'train_step', step)
    if not patches.is_set(optimizer, 'apply_gradients'):
      apply_gradients = self._wrap_apply_gradients(optimizer.apply_gradients)
      patches.set('optimizer', optimizer, 'apply_gradients', apply_gradients)
    if not patches.is_set(model, 'make_train_function'):
      patches.set(
        'model', model, 'make_train_function', self._make_hooked_function
      )
    if not patches.is_set(model, 'compile'):
      compile_model = self._wrap_compile(model.compile)
      patches.set('model', model, 'compile', compile_model)
    for kernel in self._layers.kernels:
      for name in ('assign', 'assign_add', 'assign_sub'):
        if not patches.is_set(kernel.weight, name):
          assign = self._wrap_assign(getattr(kernel.weight, name))
          patches.set('kernel', kernel.weight, name, assign)

  def _wrap_compile(self, compile_model: Callable[..., None]) -> Any:
    def compile_and_hook(*args: Any, **kwargs: Any) -> None:
      compile_model(*args, **kwargs)
      # `compile` drops the train function, which a running `fit` still needs.
      if self._is_attached:
        self._model.make_train_function()

    return compile_and_hook

  def _wrap_assign(self, assign: Callable[..., Any]) -> Any:
    """Records that a kernel is written between steps."""

    def recorded_assign(*args: Any, **kwargs: Any) -> Any:
      if tf.executing_eagerly() and self._step() is None:
        self._is_written = True
      return assign(*args, **kwargs)

    return recorded_assign

  def was_written(self) -> bool:
    """Returns whether a kernel was written since the last call or step."""
    written, self._is_written = self._is_written, False
    return written

  def _make_hooked_function(self, force: bool = False) -> Any:
    """Replaces `make_train_function` while `fit` runs.

    Every `fit` and `train_on_batch` calls it first, also those in callbacks.
    """
    model = self._model
    if not self._watch.is_alive():
      # The fit of this run died, and Keras called no callback.
      self.detach()
      self._watch.end()
      return model.make_train_function(force=force)
    if self._watch.replace():  # By a hook for another optimizer.
      return model.make_train_function(force=force)
    self._set_patches()
    if force or model.train_function is None:
      self._functions.clear()
    model.train_function = self._train
    return self._train

  def _train(self, iterator: Any) -> Any:
    """Replaces the train function; keeps one function per kind of step."""
    if self._is_written:
      self._watch.on_write()
      self._is_written = False
    kind = self._has_penalty, self._has_masks
    is_new = kind not in self._functions
    if is_new:
      self._set_patches()
      # This method, or a wrapper that other code put around it.
      current = self._model.train_function
      self._functions[kind] = self._make_train_function(force=True)
      self._model.train_function = current
      self._was_traced = False
    self._is_in_function = True
    try:
      logs = self._functions[kind](iterator)
    except (StopIteration, tf.errors.OutOfRangeError):
      raise  # The end of an epoch whose length Keras does not know.
    except BaseException:
      self._watch.on_error()
      raise
    finally:
      self._is_in_function = False
    self.calls += 1
    if is_new and not self._was_traced and not self._is_asynchronous():
      raise ValueError(
        f'make_train_function of {type(self._model).__name__} must train by '
        'model.train_step, but does not, so the masks cannot be applied.'
      )
    return logs

  def _is_asynchronous(self) -> bool:
    """Returns whether steps are traced and run later, by a coordinator."""
    return getattr(self._model, '_cluster_coordinator', None) is not None

  def detach(self) -> None:
    """Removes the hook and restores the model's own training."""
    if not self._is_attached:
      return
    self._is_attached = False
    self._patches.restore()
    self._model.train_function = None

  def _wrap_train_step(self, train_step: Callable[..., Any]) -> Any:
    def hooked_train_step(data: Any) -> Any:
      # Other code may have kept this function or wrapped it.
      if not self._is_attached or self._step() is not None:
        return train_step(data)
      return self._run_step(train_step, data)

    return hooked_train_step

  def _wrap_apply_gradients(self, apply_gradients: Callable[..., Any]) -> Any:
    def hooked_apply_gradients(
      grads_and_vars: Any, *args: Any, **kwargs: Any
    ) -> Any:
      step = self._step()
      # Change nothing in a custom loop or in a nested call.
      if step is None or not self._is_attached or self._local.applies:
        return apply_gradients(grads_and_vars, *args, **kwargs)
      self._local.applies = True
      try:
        pairs = self._transform_gradients(step, grads_and_vars, kwargs)
        with step.ignoring_writes(except_for=self._kernels_to_mask()):
          return apply_gradients(pairs, *args, **kwargs)
      finally:
        self._local.applies = False

    return hooked_apply_gradients


def armed_hook(model: keras.Model) -> TrainStepHook | None:
  """Returns the hook that is attached to a model, or `None`."""
  make = vars(model).get('make_train_function')
  hook = getattr(make, '__self__', None)
  return hook if isinstance(hook, TrainStepHook) else None
