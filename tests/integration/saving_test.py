"""Files of wrapped models in mid-run: loaded, they go on bit for bit."""

import contextlib
import functools

import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras as keras

import tf_unilth
from tests.testing import toys
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers

pytestmark = pytest.mark.long

ours = tf_unilth.prune_low_magnitude
tfmots = tfmot.sparsity.keras.prune_low_magnitude
prune_scope = tfmot.sparsity.keras.prune_scope
EPOCHS = 12
ALGORITHMS = {
  'unilth': tf_unilth.UniLTH,
  'unidlth': functools.partial(tf_unilth.UniDLTH, seed=3),
  'dlth': functools.partial(tf_unilth.DLTH, seed=3),
  'lth': tf_unilth.LTH,
}
# The plateau is seen at epoch 4 and rewound to the end of epoch 2.
VAL_LOSS = toys.SetValLoss, (3, 2, 2.5, 2.2)


def _wrapped(wrap):
  keras.utils.set_random_seed(1)
  model = wrap(toys.conv(), tf_unilth.IterativeSparsity(0.9, rounds=5))
  rate = tf_unilth.StagedLearningRate(0.05)
  return toys.compiled_for_labels(model, keras.optimizers.Adam(rate))


def _train(model, make, *more, **arguments):
  kind, values = VAL_LOSS
  return toys.fit(
    model,
    kind(*values),
    make(**{'verbose': 0, **arguments.pop('ticket', {})}),
    *more,
    epochs=EPOCHS,
    shuffle=False,
    **arguments,
  )


class _SaveAt(keras.callbacks.Callback):
  """Saves when some epochs are completed, by a function of the model."""

  def __init__(self, epochs, save):
    super().__init__()
    self._epochs, self._save = epochs, save

  def on_epoch_end(self, epoch, logs=None):
    if epoch + 1 == self._epochs:
      self._save(self.model)


def _run_and_save(wrap, algorithm, epochs, save):
  """Trains to the end; returns what it ended as."""
  model = _wrapped(wrap)
  _train(model, ALGORITHMS[algorithm], _SaveAt(epochs, save))
  return model


@pytest.fixture(scope='module')
def whole_run(tmp_path_factory):
  """Returns a run and a folder of what it saved: one for all of its tests."""

  @functools.cache
  def run(algorithm):
    folder = tmp_path_factory.mktemp(algorithm)

    def save(epochs, model):
      for suffix in ('.keras', '.h5'):
        model.save(folder / f'{epochs}{suffix}')
      for suffix in ('.weights.h5', '.weights-of-old.h5', '-checkpoint'):
        model.save_weights(folder / f'{epochs}{suffix}')

    model = _wrapped(ours)
    saves = [_SaveAt(n, functools.partial(save, n)) for n in (3, 6)]
    _train(model, ALGORITHMS[algorithm], *saves)
    return model, folder

  return run


def _assert_equal(whole, resumed):
  for before, after in zip(
    toys.training_state(whole), toys.training_state(resumed), strict=True
  ):
    np.testing.assert_array_equal(before, after)
  for before, after in zip(toys.masks(whole), toys.masks(resumed), strict=True):
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
  ('algorithm', 'epochs', 'suffix'),
  [
    ('unilth', 3, '.keras'),  # Stage 1, before its rewind.
    ('unilth', 6, '.h5'),
    ('unidlth', 6, '.keras'),
    ('dlth', 3, '.h5'),
    ('lth', 6, '.keras'),
  ],
)
def test_a_model_file_goes_on_as_if_never_stopped(
  algorithm, epochs, suffix, whole_run
):
  whole, folder = whole_run(algorithm)
  resumed = keras.models.load_model(folder / f'{epochs}{suffix}')  # No scope.
  _train(resumed, ALGORITHMS[algorithm], initial_epoch=epochs)
  _assert_equal(whole, resumed)


def test_so_does_one_of_tfmots_wrapper_in_its_scope(tmp_path):
  # With the format of Keras 3: the wrapper around a layer without kernels.
  path = str(tmp_path / 'model.h5')
  whole = _run_and_save(tfmots, 'unilth', 6, lambda model: model.save(path))
  with prune_scope():
    resumed = keras.models.load_model(path)
  _train(resumed, ALGORITHMS['unilth'], initial_epoch=6)
  _assert_equal(whole, resumed)


@pytest.mark.parametrize(
  ('algorithm', 'epochs'),
  [('unilth', 3), ('unidlth', 6), ('lth', 3)],
)
def test_a_checkpoint_of_tensorflow_goes_on(algorithm, epochs, whole_run):
  whole, folder = whole_run(algorithm)
  resumed = _wrapped(ours)
  resumed.load_weights(folder / f'{epochs}-checkpoint')
  _train(resumed, ALGORITHMS[algorithm], initial_epoch=epochs)
  _assert_equal(whole, resumed)


@pytest.mark.parametrize('wrap', [ours, tfmots])
def test_a_saved_model_goes_on_and_says_what_it_lacks(wrap, tmp_path, capsys):
  path = str(tmp_path / 'model')
  _run_and_save(wrap, 'unilth', 6, lambda model: model.save(path))
  with prune_scope() if wrap is tfmots else contextlib.nullcontext():
    resumed = keras.models.load_model(path)
  history = _train(
    resumed,
    ALGORITHMS['unilth'],
    initial_epoch=6,
    ticket={'verbose': 1},
  )
  printed = capsys.readouterr().out
  assert 'resuming in stage 2' in printed
  assert 'the optimizer has done fewer steps than the run' in printed
  assert history.history['round'][-1] == 5
  kernels = toys.kernels(resumed)
  assert toys.zeros(kernels) == round(0.9 * toys.size(kernels))


@pytest.mark.parametrize('suffix', ['.weights.h5', '.weights-of-old.h5'])
def test_a_weights_file_says_that_it_holds_no_run(suffix, whole_run, capsys):
  _, folder = whole_run('unilth')
  loaded = _wrapped(ours)
  loaded.load_weights(folder / f'6{suffix}')
  masks = toys.masks(loaded)
  assert 0 < toys.zeros(masks) < 0.9 * toys.size(masks)
  _train(loaded, ALGORITHMS['unilth'], ticket={'verbose': 1})
  assert 'the model has no state of their run' in capsys.readouterr().out
  assert toys.zeros(toys.kernels(loaded)) == round(0.9 * toys.size(masks))
  for before, after in zip(masks, toys.masks(loaded), strict=True):
    assert not (after & ~before).any()


@pytest.mark.parametrize('suffix', ['.keras', '.h5', ''])
def test_layers_that_share_a_schedule_share_it_again(suffix, tmp_path):
  first, second = (tf_unilth.IterativeSparsity(s) for s in (0.5, 0.8))
  layers = [
    keras.layers.Input((4,)),
    ours(keras.layers.Dense(3), first),
    ours(keras.layers.Dense(3), first),
    ours(keras.layers.Dense(3), second),
  ]
  path = str(tmp_path / f'model{suffix}')
  keras.Sequential(layers).save(path)
  one, two = PrunedLayers(keras.models.load_model(path)).schedules
  assert (one.target_sparsity, two.target_sparsity) == (0.5, 0.8)


def test_two_models_from_one_file_do_not_share_their_run(tmp_path):
  path = str(tmp_path / 'model.keras')
  _wrapped(ours).save(path)
  models = [keras.models.load_model(path) for _ in range(2)]
  _train(models[0], ALGORITHMS['unilth'])
  one, two = (PrunedLayers(model).schedules[0].run.state for model in models)
  assert one.begun and not two.begun


def test_structure_survives_a_reload(tmp_path):
  layer = ours(
    keras.layers.Dense(8, input_shape=(8,)),
    tf_unilth.IterativeSparsity(0.5),
    sparsity_m_by_n=(2, 4),
  )
  blocks = ours(
    keras.layers.Dense(8), tf_unilth.IterativeSparsity(0.5), block_size=(4, 1)
  )
  path = str(tmp_path / 'model.keras')
  keras.Sequential([layer, blocks]).save(path)
  layer, blocks = keras.models.load_model(path).layers
  assert tuple(layer.sparsity_m_by_n) == (2, 4)
  assert tuple(blocks.block_size) == (4, 1)


def test_a_copy_with_open_masks_begins_a_run_of_its_own(whole_run):
  _, folder = whole_run('lth')
  copy = keras.models.clone_model(keras.models.load_model(folder / '6.keras'))
  assert PrunedLayers(copy).schedules[0].run.state.next_epoch == 6
  assert not toys.zeros(toys.masks(copy))
  toys.compiled_for_labels(copy)
  history = _train(copy, ALGORITHMS['lth'], initial_epoch=6)
  # The first of its own rounds, not the third of the one it was copied from.
  assert history.history['round'][0] < 2
  kernels = toys.kernels(copy)
  assert toys.zeros(kernels) == round(0.9 * toys.size(kernels))


def test_a_model_that_is_loaded_and_saved_again_keeps_its_run(
  whole_run, tmp_path
):
  second = str(tmp_path / 'second.keras')
  whole, folder = whole_run('unilth')
  loaded = keras.models.load_model(folder / '6.h5')
  tf_unilth.sparsity_summary(loaded)  # Looks at the layers, no more.
  loaded.save(second)
  resumed = keras.models.load_model(second)
  _train(resumed, ALGORITHMS['unilth'], initial_epoch=6)
  _assert_equal(whole, resumed)


def test_tfmots_wrapper_around_a_layer_without_kernels_keeps_the_run(tmp_path):
  path = str(tmp_path / 'model.keras')

  def wrap(_, schedule):
    return tfmots(toys.dense(), schedule)  # A Flatten comes first.

  whole = _run_and_save(wrap, 'unilth', 6, lambda model: model.save(path))
  with prune_scope():
    resumed = keras.models.load_model(path)
  _train(resumed, ALGORITHMS['unilth'], initial_epoch=6)
  _assert_equal(whole, resumed)


@pytest.mark.parametrize('target', [0.0, None])
def test_what_prunes_nothing_goes_on_too(target, tmp_path):
  path = str(tmp_path / 'model.keras')
  fixed = target is None

  def wrap(model, _):
    schedule = (
      tf_unilth.FixedMask() if fixed else tf_unilth.IterativeSparsity(0)
    )
    if fixed:
      kernel = model.layers[-1].kernel
      kernel.assign(kernel.numpy() * (np.arange(2) > 0))
    return ours(model, schedule)

  whole = _run_and_save(wrap, 'unilth', 3, lambda model: model.save(path))
  resumed = keras.models.load_model(path)
  _train(resumed, ALGORITHMS['unilth'], initial_epoch=3)
  _assert_equal(whole, resumed)


@pytest.mark.parametrize(
  ('algorithm', 'initial_epoch'), [('lth', 6), ('unilth', 0)]
)
def test_a_run_that_does_not_go_on_says_so(
  algorithm, initial_epoch, whole_run, capsys
):
  _, folder = whole_run('unilth')
  loaded = keras.models.load_model(folder / '6.keras')
  _train(
    loaded,
    ALGORITHMS[algorithm],
    initial_epoch=initial_epoch,
    ticket={'verbose': 1},
  )
  assert (
    'does not continue the earlier run of UniLTH to epoch 12, of which 6 are '
    'done: a new run begins'
  ) in capsys.readouterr().out


def test_a_subclassed_model_is_loaded_from_a_saved_model(tmp_path):
  model = _Registered()
  model.build((None, 6, 6, 1))
  toys.compiled_for_labels(model)
  x, _ = toys.data()
  outputs = model.predict(x, verbose=0)
  model.save(str(tmp_path / 'model'))
  loaded = keras.models.load_model(str(tmp_path / 'model'))
  np.testing.assert_array_equal(loaded.predict(x, verbose=0), outputs)


@keras.saving.register_keras_serializable('tests')
class _Registered(keras.Model):
  def __init__(self, **kwargs):
    super().__init__(**kwargs)
    self.flatten = keras.layers.Flatten()
    schedule = tf_unilth.IterativeSparsity(0.5)
    self.one = ours(keras.layers.Dense(4), schedule)
    self.two = ours(keras.layers.Dense(2), schedule)

  def call(self, inputs):
    return self.two(self.one(self.flatten(inputs)))

  def get_config(self):
    return {}
