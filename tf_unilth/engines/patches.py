"""All attributes that the library sets on objects of Keras and tfmot.

`TABLE` lists them. Those of a run, and all of a Keras 3 model, are set by
`Patches`, a context manager that restores them; `tfmot/callback_list.py`
replaces the list of callbacks, and `resume/keras3/fit_data.py` sets where a
`fit` begins. Those that last as long as a tf_keras model is
wrapped are set by `set_lasting`, and `take_back` restores them when
`strip_pruning` changes the model in place. `strip_pruning` restores those of a
Keras 3 model too.
"""

from typing import Any, NamedTuple

RUN, LASTING = 'until the run ends', 'as long as the model is wrapped'
PLANNED, FIT = 'until strip_pruning', 'until the fit of Keras 3 ends'


class Patch(NamedTuple):
  """A row of the table.

  Args:
    owner: the kind of object.
    attribute: its attribute.
    lasts: how long it lasts.
    why: what it is for.
  """

  owner: str
  attribute: str
  lasts: str
  why: str


TABLE = (
  Patch('model', 'train_step', RUN, 'masks and penalty are part of each step'),
  Patch('model', 'make_train_function', RUN, 'each new train function is ours'),
  Patch('model', 'train_function', RUN, 'one traced function per kind of step'),
  Patch('model', 'compile', RUN, 'a new optimizer is followed'),
  Patch('optimizer', 'apply_gradients', RUN, 'masks gradients, adds penalties'),
  Patch('kernel', 'assign', RUN, 'weights that other code writes are masked'),
  Patch('kernel', 'assign_add', RUN, 'the same'),
  Patch('kernel', 'assign_sub', RUN, 'the same'),
  Patch('callback list', 'callbacks', RUN, 'the run ends after all callbacks'),
  Patch('data handler', 'enumerate_epochs', RUN, 'a fit that died is noticed'),
  Patch('wrapped model', 'compile', LASTING, 'refuses objects of Keras 3'),
  Patch('model', 'test_step', LASTING, 'evaluations need no mask per layer'),
  Patch('model', 'predict_step', LASTING, 'the same'),
  Patch('model', 'make_test_function', LASTING, 'they mask once, at the start'),
  Patch('model', 'make_predict_function', LASTING, 'the same'),
  Patch('model', 'save_weights', LASTING, 'files have masked weights'),
  Patch('wrapper', 'get_config', LASTING, 'files have the state of the run'),
  Patch('pruning object', 'conditional_mask_update', LASTING, 'we make masks'),
  Patch('pruning object', 'weight_mask_op', LASTING, 'a step masks once'),
  Patch('Keras 3 model', '_pruning_plan', PLANNED, 'schedules, masks, the run'),
  Patch('Keras 3 model', 'fit', PLANNED, 'the run sees the callbacks and data'),
  Patch('Keras 3 model', 'compile', PLANNED, 'a new optimizer is followed'),
  Patch('Keras 3 model', 'make_train_function', PLANNED, 'each one is ours'),
  Patch('Keras 3 model', 'train_function', PLANNED, 'one per kind of step'),
  Patch('Keras 3 model', 'train_step', PLANNED, 'JAX traces each one anew'),
  Patch(
    'Keras 3 model', '_initial_epoch', FIT, 'fit begins where a run stopped'
  ),
  Patch(
    'epoch iterator', '_enumerate_iterator', FIT, 'data begin where it stopped'
  ),
  Patch('BackupAndRestore', '_save_model', FIT, 'saves the run, too'),
  Patch('BackupAndRestore', '_load_model', FIT, 'restores the run, too'),
  Patch('Keras 3 optimizer', 'apply', PLANNED, 'masks gradients, adds penalty'),
  Patch(
    'Keras 3 optimizer', '_variables', PLANNED, 'JAX passes masks to steps'
  ),
  Patch(
    'Keras 3 optimizer', 'save_own_variables', PLANNED, 'without the masks'
  ),
  Patch(
    'Keras 3 optimizer', 'load_own_variables', PLANNED, 'without the masks'
  ),
)
_ROWS = {(row.owner, row.attribute): row for row in TABLE}
# Marks a value that `set_lasting` set; it has the previous value.
_MARK = '_tf_unilth_replaces'


class Patches:
  """Sets attributes of instances, and restores them when it is left.

  >>> class Model:
  ...   compile = 'of the class'
  >>> model = Model()
  >>> with Patches() as patches:
  ...   patches.set('model', model, 'compile', 'patched')
  ...   model.compile
  'patched'
  >>> model.compile, vars(model)
  ('of the class', {})
  """

  def __init__(self):
    self._entries: list[tuple[Any, str, Any, Any]] = []

  def __enter__(self) -> 'Patches':
    return self

  def __exit__(self, *error: object) -> None:
    self.restore()

  def set(self, owner: str, thing: Any, name: str, value: Any) -> None:
    """Sets an attribute of the instance and remembers its previous value.

    Args:
      owner: the kind of object, of `TABLE`.
      thing: the object to patch.
      name: the attribute.
      value: its new value.
    """
    assert _ROWS[owner, name].lasts != LASTING
    # The instance may have an attribute of its own, which a user set.
    self._entries.append((thing, name, vars(thing).get(name), value))
    setattr(thing, name, value)

  def is_set(self, thing: Any, name: str) -> bool:
    """Returns whether an attribute still has the value given to `set`."""
    return any(
      vars(thing).get(name) is value
      for owner, known, _, value in self._entries
      if owner is thing and known == name
    )

  def restore(self) -> None:
    """Restores all attributes, except those that other code set since then."""
    for thing, name, before, value in reversed(self._entries):
      if vars(thing).get(name) is value:
        _put(thing, name, before)
    self._entries = []


def set_lasting(owner: str, thing: Any, name: str, value: Any) -> None:
  """Sets an attribute of the instance until `take_back`.

  Args:
    owner: the kind of object, of `TABLE`.
    thing: the object to patch.
    name: the attribute. If it was set before, the new value replaces that one.
    value: its new value, a function that nothing else uses.
  """
  assert _ROWS[owner, name].lasts == LASTING
  present = vars(thing).get(name)
  function = getattr(value, '__func__', value)  # Of a bound method.
  setattr(function, _MARK, getattr(present, _MARK, present))
  setattr(thing, name, value)


def take_back(thing: Any) -> None:
  """Restores the attributes that `set_lasting` set on an object."""
  for name, value in list(vars(thing).items()):
    if hasattr(value, _MARK):
      _put(thing, name, getattr(value, _MARK))


def _put(thing: Any, name: str, value: Any) -> None:
  if value is None:
    delattr(thing, name)
  else:
    setattr(thing, name, value)
