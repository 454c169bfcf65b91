"""ModelHooks: the patches of a Keras 3 model, until `strip_pruning`."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import keras

from tf_unilth.engines.engine import RunEvents
from tf_unilth.engines.fit_context import FitContext
from tf_unilth.engines.keras3 import optimizer_traits
from tf_unilth.engines.keras3.masked_apply import MaskedApply
from tf_unilth.engines.keras3.pruning_plan import ATTRIBUTE, PruningPlan
from tf_unilth.engines.patches import Patches

_OWNER = 'Keras 3 model'


class ModelHooks:
  """Makes any training of a model hold the masks of its plan.

  Args:
    plan: the plan of a Keras 3 model.
  """

  def __init__(self, plan: PruningPlan):
    self.plan = plan
    self.apply: MaskedApply | None = None
    # The run of the ticket callback, while it trains.
    self.run: RunEvents | None = None
    self.run_is_of_fit = False
    self.calls = 0  # Completed calls of the train function.
    # The `fit` calls on the stack, the innermost last.
    self._fits: list[FitContext] = []
    self._end: Callable[[], None] | None = None
    self._functions: dict[tuple[bool, bool], Any] = {}
    # The kinds of steps that are not known to train a kernel.
    self._unchecked: set[tuple[bool, bool]] = set()
    self._patches = Patches()
    self._make_own: Callable[..., Any] = plan.model.make_train_function

  @property
  def fit(self) -> FitContext:
    """The innermost `fit`; one with the defaults stands for a custom loop."""
    return self._fits[-1] if self._fits else FitContext()

  @property
  def functions(self) -> list[Any]:
    """The train functions, one per kind of step."""
    return list(self._functions.values())

  def attach(self) -> None:
    """Puts plan and patches on the model."""
    model = self.plan.model
    self._make_own = model.make_train_function
    own_fit, own_compile = model.fit, model.compile
    self.plan.hooks = self
    for name, value in (
      (ATTRIBUTE, self.plan),
      ('make_train_function', self._make_train_function),
      ('fit', self._wrap_fit(own_fit)),
      ('compile', self._wrap_compile(own_compile)),
    ):
      self._patches.set(_OWNER, model, name, value)
    model.train_function = None

  def detach(self) -> None:
    """Takes all patches back."""
    if self.apply is not None:
      self.apply.detach()
      self.apply = None
    self._patches.restore()
    self._functions.clear()
    self.plan.model.train_function = None

  def hook_optimizer(self) -> MaskedApply:
    """Returns the hook of the model's optimizer, which it puts on if needed."""
    model = self.plan.model
    optimizer, hook = model.optimizer, self.apply
    if hook is not None:
      if hook.optimizer is optimizer and hook.is_attached:
        return hook
      hook.detach()
    if not optimizer.built:
      optimizer.build(model.trainable_variables)
    self.apply = MaskedApply(optimizer, self.plan.kernels, self.plan.variables)
    self.apply.attach()
    self.apply.pass_variables()
    self._functions.clear()
    return self.apply

  def set_kind(self, ramps: bool, masks: bool) -> None:
    """Sets whether the next steps have a penalty, and any pruned weight."""
    if self.apply is not None:
      self.apply.has_penalty, self.apply.has_masks = ramps, masks

  # The train function.

  def _make_train_function(self, force: bool = False) -> Any:
    """Replaces `make_train_function`, which all training of Keras calls."""
    model = self.plan.model
    if force or model.train_function is None:
      self._functions.clear()
    if self.plan.kernels and model.optimizer is not None:
      self.hook_optimizer()
      model.train_function = self._train
      return self._train
    # Nothing to mask.
    return self._make_own(force=force)

  def _train(self, *arguments: Any) -> Any:
    """Replaces the train function; keeps one function per kind of step."""
    hook = self.hook_optimizer()
    if self.run is None:
      hook.has_penalty, hook.has_masks = False, self.plan.has_zeros
    kind = hook.has_penalty, hook.has_masks
    if kind not in self._functions:
      hook.trained = set()
      self._functions[kind] = self._make_function()
      self._unchecked.add(kind)
    scale = None
    if kind in self._unchecked:
      scale = optimizer_traits.loss_scale(hook.optimizer)
    hook.is_in_fit = True
    try:
      logs = self._functions[kind](*arguments)
    finally:
      hook.is_in_fit = False
    if kind in self._unchecked and self._has_trained(hook, scale):
      self._unchecked.remove(kind)
    self.calls += 1
    return logs

  def _make_function(self) -> Any:
    """Returns a train function that Keras has just made."""
    model = self.plan.model
    train_step, before = model.train_step, model.train_function
    with Patches() as patches:
      if keras.backend.backend() == 'jax':
        # JAX would take an earlier trace of the same function, made before the
        # optimizer was hooked or for another kind of step.
        patches.set(
          _OWNER, model, 'train_step', lambda *state: train_step(*state)
        )
      self._make_own(force=True)
      made, model.train_function = model.train_function, before
    return made

  def _has_trained(self, hook: MaskedApply, scale: float | None) -> bool:
    """Returns whether the optimizer has trained a kernel, or need not.

    Args:
      hook: of the optimizer.
      scale: its loss scale before the step.

    Raises:
      ValueError: it trains none in steps that have a penalty.
    """
    if hook.trained or self.run is None or not self.run.needs_training:
      return True
    # Run eagerly, a step whose scaled gradients overflow trains nothing, and
    # lowers the scale.
    now = optimizer_traits.loss_scale(hook.optimizer)
    if scale is not None and now is not None and now < scale:
      return False
    raise ValueError(
      f'train_step of model {self.plan.model.name!r} must train its kernels by '
      'model.optimizer, whose `apply` holds the masks, but it does not.'
    )

  # fit and compile.

  def _wrap_fit(self, own_fit: Any) -> Any:
    @functools.wraps(own_fit)
    def fit(*args: Any, **kwargs: Any) -> Any:
      context = _context(_arguments_of(own_fit, args, kwargs))
      if self.plan.needs_callback and not _has_ticket_callback(context):
        raise missing_callback_error()
      if self.run is None and self.plan.has_zeros:
        self.plan.zero_pruned()  # Weights may have been loaded since.
      with self._running(context):
        return own_fit(*args, **kwargs)

    return fit

  @contextlib.contextmanager
  def _running(self, context: FitContext) -> Iterator[None]:
    """Ends the run of a `fit` after it, and releases it after an error."""
    self._fits.append(context)
    has_run = _has_ticket_callback(context)
    try:
      yield
      end, self._end = self._end, None if has_run else self._end
      if has_run and end is not None:
        end()
    except BaseException:
      if has_run and self.run is not None:
        self._end = None
        self.run.release()
      raise
    finally:
      self._fits.pop()

  def end_after_fit(self, end: Callable[[], None]) -> bool:
    """Calls a function when the `fit` ends; returns whether there is one."""
    self._end = end
    return bool(self._fits)

  def _wrap_compile(self, own_compile: Any) -> Any:
    @functools.wraps(own_compile)
    def compile_model(*args: Any, **kwargs: Any) -> None:
      own_compile(*args, **kwargs)
      if self.run is not None:
        self._follow_optimizer()

    return compile_model

  def _follow_optimizer(self) -> None:
    """Hooks the new optimizer of a model that is training."""
    assert self.apply is not None and self.run is not None
    before, kind = self.apply, (self.apply.has_penalty, self.apply.has_masks)
    hook = self.hook_optimizer()
    hook.ramp = before.ramp
    hook.has_penalty, hook.has_masks = kind
    iterations = [
      optimizer_traits.iterations(one.optimizer) for one in (before, hook)
    ]
    self.run.on_optimizer_replaced(iterations[1] - iterations[0])
    self._make_train_function()


def _has_ticket_callback(context: FitContext) -> bool:
  return any(
    getattr(callback, 'is_ticket_callback', False)
    for callback in context.callbacks
  )


def _arguments_of(
  own_fit: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
  """Returns the arguments of `fit` by name, also where a user replaced it."""
  signature = inspect.signature(own_fit)
  given = dict(signature.bind(*args, **kwargs).arguments)
  for name, parameter in signature.parameters.items():
    if parameter.kind is parameter.VAR_KEYWORD:
      given |= given.pop(name, {})
    elif parameter.kind is parameter.VAR_POSITIONAL:
      names = [*inspect.signature(keras.Model.fit).parameters][1:]
      given |= dict(zip(names, given.pop(name, ()), strict=False))
  return given


def _context(given: dict[str, Any]) -> FitContext:
  """Returns what a run needs of the arguments of `fit`."""
  callbacks = given.get('callbacks')
  callbacks = getattr(callbacks, 'callbacks', callbacks)
  has_validation = given.get('validation_data') is not None
  return FitContext(
    is_fit=True,
    callbacks=tuple(keras.tree.flatten(callbacks)) if callbacks else (),
    has_validation=has_validation or bool(given.get('validation_split')),
    validation_freq=given.get('validation_freq', 1),
    batch_size=given.get('batch_size'),
    shuffle=given.get('shuffle', True),
    class_weight=given.get('class_weight'),
  )


def missing_callback_error() -> ValueError:
  """Returns the error for a `fit` without a ticket callback."""
  return ValueError(
    'the model is to be pruned, but fit has no ticket callback: pass '
    'callbacks=[tf_unilth.UniLTH()] to fit, or LTH(), DLTH() or UniDLTH().'
  )
