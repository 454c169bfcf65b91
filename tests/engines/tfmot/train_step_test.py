"""What a train step does to gradients, and who holds the masks when."""

import collections

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from tensorflow.python.eager import context

import tf_unilth
from recipes.training import optimization
from tests.testing import toys
from tf_unilth.engines.tfmot import keras_access, optimizer_traits
from tf_unilth.engines.tfmot.masked_gradients import TicketGradients
from tf_unilth.engines.tfmot.pruned_model import PrunedLayers

_NEW = ('Adadelta', 'Adafactor', 'Adagrad', 'Adam', 'AdamW', 'Adamax')
_NEW += ('Nadam', 'RMSprop', 'SGD')
_LEGACY = ('Adadelta', 'Adagrad', 'Adam', 'Adamax', 'Nadam', 'RMSprop', 'SGD')


_OPTIMIZERS = {
  **{name: getattr(keras.optimizers, name)() for name in _NEW},
  **{
    f'legacy {name}': getattr(keras.optimizers.legacy, name)()
    for name in _LEGACY
  },
  'nesterov': keras.optimizers.SGD(
    momentum=0.9, nesterov=True, weight_decay=0.1
  ),
  'legacy momentum': keras.optimizers.legacy.SGD(momentum=0.9),
  'amsgrad': keras.optimizers.Adam(amsgrad=True),
  'centered': keras.optimizers.RMSprop(momentum=0.9, centered=True),
  "the recipes'": optimization.SGD(0.1, l2=0.01, momentum=0.9, nesterov=True),
}


@pytest.mark.parametrize('name', _OPTIMIZERS)
def test_zeros_stay_zero_under_an_optimizer_of_keras(name):
  optimizer = _OPTIMIZERS[name]
  assert optimizer_traits.preserves_zeros(optimizer)
  weight = tf.Variable([[0.0, 1.0], [2.0, 0.0]])
  mask = weight.numpy() != 0
  for _ in range(2):  # Momentum that the mask must clear.
    optimizer.apply_gradients([(tf.ones((2, 2)), weight)])
  slots = optimizer_traits.slots(optimizer, weight)
  for variable in [weight, *slots]:
    variable.assign(np.where(mask, variable.numpy(), 0))
  for _ in range(3):
    optimizer.apply_gradients([(tf.constant(mask, tf.float32), weight)])
    assert not weight.numpy()[~mask].any()
    assert np.isfinite(weight.numpy()).all() and weight.numpy()[mask].all()


def test_slots_are_found_whatever_the_optimizer():
  weights = [tf.Variable(tf.zeros((2, 3))), tf.Variable(tf.zeros(3))]
  frozen = tf.Variable(tf.zeros((2, 3)))
  for optimizer, count in (
    (keras.optimizers.SGD(momentum=0.9), 1),
    (keras.optimizers.Adam(), 2),
    (keras.optimizers.legacy.Adam(), 2),
    (keras.optimizers.legacy.SGD(), 0),
  ):
    optimizer.apply_gradients([(tf.ones(w.shape), w) for w in weights])
    for weight in weights:
      slots = optimizer_traits.slots(optimizer, weight)
      assert [s.shape for s in slots] == [weight.shape] * count
    assert not optimizer_traits.slots(optimizer, frozen)


def test_an_optimizer_that_moves_zeros_is_not_relied_on():
  class Noisy(keras.optimizers.SGD):
    def update_step(self, gradient, variable):
      variable.assign_add(tf.ones_like(variable))

  for optimizer in (
    Noisy(),
    keras.optimizers.Ftrl(),
    keras.optimizers.Adam(epsilon=0.0),
  ):
    assert not optimizer_traits.preserves_zeros(optimizer)
  spy = toys.Spy()
  model = toys.wrapped(
    toys.dense(), tf_unilth.IterativeSparsity(0.5, rounds=2), Noisy()
  )
  toys.fit(model, tf_unilth.LTH(verbose=0), spy, epochs=3)
  pruned = 0
  for masks, weights in spy.batches:
    for mask, weight in zip(masks, weights):
      assert not weight[~mask].any()
      pruned += np.sum(~mask)
  assert pruned


def test_a_class_says_of_itself_alone_that_it_keeps_zeros():
  class Says(keras.optimizers.SGD):
    keeps_zeros = True

  class DerivesFromIt(Says):
    pass

  assert optimizer_traits.preserves_zeros(Says())
  assert not optimizer_traits.preserves_zeros(DerivesFromIt())


def _noise(pairs):
  return [(gradient + 1.0, variable) for gradient, variable in pairs]


def _replaced() -> keras.optimizers.Optimizer:
  """An optimizer whose gradients a user changes on their way."""
  optimizer = keras.optimizers.SGD(0.1)
  apply = optimizer.apply_gradients
  optimizer.apply_gradients = lambda pairs, *args, **kwargs: apply(
    _noise(pairs), *args, **kwargs
  )
  return optimizer


@pytest.mark.parametrize(
  ('optimizer', 'constraint'),
  [
    (_replaced(), None),
    (
      keras.optimizers.legacy.SGD(0.1, gradient_transformers=[_noise]),
      None,
    ),
    (keras.optimizers.SGD(0.1), lambda w: w - tf.reduce_mean(w)),
  ],
  ids=['replaced', 'transformed', 'constrained'],
)
def test_zeros_stay_whatever_comes_after_the_masks(optimizer, constraint):
  layer = keras.layers.Dense(2, kernel_constraint=constraint)
  model = tf_unilth.prune_low_magnitude(
    keras.Sequential([keras.layers.Flatten(input_shape=(6, 6, 1)), layer]),
    tf_unilth.IterativeSparsity(0.5, rounds=1),
  )
  spy = toys.Spy()
  toys.compiled_for_labels(model, optimizer)
  toys.fit(model, tf_unilth.LTH(verbose=0), spy, epochs=3, validation_data=None)
  for masks, weights in spy.batches:
    assert not weights[0][~masks[0]].any()
  assert not masks[0].all()


def test_only_variables_are_slots():
  weights = [tf.Variable([1.0]), tf.Variable([1.0])]
  optimizer = keras.optimizers.SGD(momentum=0.9, weight_decay=0.1)
  optimizer.exclude_from_weight_decay(var_names=['as many', 'as weights'])
  optimizer.build(weights)
  assert len(optimizer_traits.slots(optimizer, weights[1])) == 1


class _OwnStep(keras.Sequential):
  """Trains by an optimizer that is not `model.optimizer`."""

  own = None

  def train_step(self, data):
    x, y = data[:2]
    with tf.GradientTape() as tape:
      loss = self.compute_loss(x, y, self(x, training=True))
    variables = self.trainable_variables
    gradients = tape.gradient(loss, variables)
    for variable, gradient in zip(variables, gradients):
      variable.assign_sub(0.1 * gradient)
    self.optimizer.iterations.assign_add(1)
    return {'loss': loss}


def _own_step() -> keras.Model:
  wrap, schedule = tf_unilth.prune_low_magnitude, tf_unilth.IterativeSparsity
  model = _OwnStep(
    [
      keras.layers.Flatten(input_shape=(6, 6, 1)),
      wrap(keras.layers.Dense(2), schedule(0.5, rounds=2)),
    ]
  )
  return toys.compiled_for_labels(model)


def test_kernels_that_the_optimizer_does_not_train_are_masked_too():
  spy = toys.Spy()
  toys.fit(_own_step(), tf_unilth.LTH(verbose=0), spy, epochs=3)
  for masks, weights in spy.batches:
    for mask, weight in zip(masks, weights):
      assert not weight[~mask].any()
  assert not spy.batches[-1][0][0].all()


def test_a_ramp_that_could_do_nothing_is_refused():
  with pytest.raises(ValueError, match=r'must apply its gradients by model\.o'):
    toys.fit(_own_step(), tf_unilth.UniLTH(verbose=0))


def test_clipping_by_norm_does_not_see_what_is_pruned():
  layer = keras.layers.Dense(1, use_bias=False, input_shape=(100,))
  model = keras.Sequential([layer])
  kernel = np.zeros((100, 1), np.float32)
  kernel[0] = 1.0
  layer.set_weights([kernel])
  model = tf_unilth.prune_low_magnitude(model, tf_unilth.FixedMask())
  model.compile(keras.optimizers.SGD(1.0, clipnorm=0.5), 'mse')
  data = np.ones((8, 100), np.float32), np.full((8, 1), -50.0, np.float32)
  model.fit(*data, callbacks=[tf_unilth.LTH(verbose=0)], verbose=0)
  moved = model.layers[0].layer.kernel.numpy() - kernel
  np.testing.assert_allclose(np.linalg.norm(moved), 0.5, rtol=1e-5)
  assert np.count_nonzero(moved) == 1


@pytest.mark.parametrize('family', [keras.optimizers, keras.optimizers.legacy])
def test_sparse_gradients_are_masked(family):
  model = keras.Sequential(
    [
      keras.layers.Embedding(10, 4, input_length=3),
      keras.layers.Flatten(),
      keras.layers.Dense(2),
    ]
  )
  model = tf_unilth.prune_low_magnitude(
    model, tf_unilth.IterativeSparsity(0.5, rounds=2)
  )
  toys.compiled_for_labels(model, family.SGD(0.1, momentum=0.9))
  spy = toys.Spy()
  x = np.random.default_rng(0).integers(0, 10, (32, 3))
  before = toys.kernels(model)[0]
  model.fit(
    x,
    x[:, 0] % 2,
    epochs=3,
    verbose=0,
    callbacks=[tf_unilth.LTH(rewind='weights', verbose=0), spy],
  )
  masks, weights = spy.batches[-1]
  assert not masks[0].all() and not weights[0][~masks[0]].any()
  assert (weights[0] != before)[masks[0]].any()


def test_the_loss_that_is_reported_has_no_penalty():
  model = toys.wrapped(
    toys.dense(),
    tf_unilth.IterativeSparsity(0.5, rounds=1),
    keras.optimizers.SGD(1e-9),
  )
  ramp = tf_unilth.L2Ramp(limit=100.0)
  callback = tf_unilth.DLTH(ramp=ramp, finetune_fraction=0.0, verbose=0)
  history = toys.fit(model, callback, epochs=4).history
  assert history['l2_lambda'][2] > 1
  np.testing.assert_allclose(history['loss'][:3], history['val_loss'][:3], 1e-4)


# What it costs.


@pytest.mark.parametrize('penalised', [False, True])
def test_gradients_are_the_same_for_who_negates_them(penalised):
  model = _fitted()
  layers = PrunedLayers(model)
  candidates = [k.weight > 0 for k in layers.kernels]
  coefficient = tf.constant(0.3) if penalised else None
  random = np.random.default_rng(0)
  weights = [kernel.weight for kernel in layers.kernels]
  dense = tf.constant(random.standard_normal(weights[0].shape, np.float32))
  rows = tf.constant(random.standard_normal((2, 2)).astype(np.float32))
  slices = tf.IndexedSlices(rows, tf.constant([1, 3]), tf.constant([16, 2]))
  for gradient, weight in ((dense, 0), (slices, 1), (None, 1)):
    pairs = [(gradient, weights[weight])]
    changed = [
      TicketGradients(layers, candidates, negated).transform(pairs, coefficient)
      for negated in (False, True)
    ]
    (((one, _),), found), (((other, _),), _) = changed
    assert found == {weight}
    if one is not None:
      one, other = tf.convert_to_tensor(one), tf.convert_to_tensor(other)
      np.testing.assert_array_equal(one, other)
      assert np.any(one) and not np.any(other[layers.kernels[weight].mask == 0])
  assert penalised == (one is not None)


def test_weights_are_read_without_a_copy_and_stay_as_they_were():
  with tf.device('CPU'):
    model = _fitted()
  layers = PrunedLayers(model)
  read, again = layers.read_weights(), layers.read_weights()
  assert all(map(np.shares_memory, read, again))
  before = [array.copy() for array in read]
  toys.fit(model, epochs=1)
  for array, old, new in zip(read, before, layers.read_weights(), strict=True):
    np.testing.assert_array_equal(array, old)
    assert np.any(array != new)


@pytest.mark.parametrize('negated', [False, True])
def test_a_penalty_waits_for_the_gradient_before_its_own(negated):
  layers = PrunedLayers(_fitted())
  weights = [kernel.weight for kernel in layers.kernels]
  candidates = [
    tf.Variable(np.zeros(kernel.shape, bool)) for kernel in layers.kernels
  ]
  gradients = TicketGradients(layers, candidates, negated)

  def changed(one, other):
    pairs = zip((tf.exp(one), tf.sin(other)), weights)
    found, _ = gradients.transform(pairs, tf.constant(0.3), masks=False)
    assert [weight is w for (_, weight), w in zip(found, weights)] == [True] * 2
    return [gradient for gradient, _ in found]

  values = [weight.value() for weight in weights]
  graph = tf.function(changed).get_concrete_function(*values).graph
  reads = [op for op in graph.get_operations() if op.type == 'ReadVariableOp']
  waits = [{op.type for op in read.control_inputs} for read in reads]
  # Backpropagation begins with the last: of each, the weight and where it is a
  # candidate.
  assert waits == [set(), set(), {'Sin'}, {'Sin'}]


def _optimized_ops(model: keras.Model, *callbacks, **arguments) -> list[dict]:
  """Returns the operations of each train step that a fit traces, optimized."""
  eager = context.context()
  eager.enable_graph_collection()
  try:
    toys.fit(model, *callbacks, validation_data=None, **arguments)
    graphs = eager.export_run_metadata().function_graphs
  finally:
    eager.disable_graph_collection()
  counts = [
    collections.Counter(node.op for node in g.post_optimization_graph.node)
    for g in graphs
  ]
  return [count for count in counts if count['IteratorGetNext']]


@pytest.mark.parametrize('nesterov', [False, True])
@pytest.mark.usefixtures('optimized')
def test_under_sgd_a_mask_takes_the_place_of_a_pass(nesterov):
  def optimizer():
    return keras.optimizers.SGD(0.05, momentum=0.9, nesterov=nesterov)

  (plain,) = _optimized_ops(
    toys.compiled_for_labels(toys.dense(), optimizer()), epochs=1
  )
  ticket = tf_unilth.prune_low_magnitude(
    toys.dense(), tf_unilth.IterativeSparsity(0.5, rounds=2)
  )
  toys.compiled_for_labels(ticket, optimizer())
  callback = tf_unilth.UniLTH(patience=None, max_dense_fraction=0.2, verbose=0)
  dense, ramp = _optimized_ops(ticket, callback, epochs=9)
  kernels = 2
  assert dense['Neg'] == plain['Neg'] - kernels
  assert dense['ReciprocalGrad'] == kernels and dense['Mul'] == plain['Mul']
  # What is new is the read of a mask. All else is as it was.
  more = dense - plain
  del more['_Arg']
  assert more == {'ReciprocalGrad': kernels, 'ReadVariableOp': kernels}
  assert ramp['Neg'] == dense['Neg']
  assert ramp['ReciprocalGrad'] == 2 * kernels


@pytest.mark.usefixtures('optimized')
def test_a_ramp_before_the_only_cut_has_no_product_with_a_mask():
  model = tf_unilth.prune_low_magnitude(
    toys.dense(), tf_unilth.IterativeSparsity(0.5, rounds=1)
  )
  toys.compiled_for_labels(model)
  spy = toys.Spy()
  dlth = tf_unilth.DLTH(verbose=0)
  ramp, held = _optimized_ops(model, dlth, spy, epochs=6)
  kernels = 2
  # Of the candidates with the weights; then of the masks with the gradients.
  assert ramp['ReciprocalGrad'] == held['ReciprocalGrad'] == kernels
  assert ramp['Neg'] == held['Neg'] and ramp['Sub'] > held['Sub']
  cut = 0
  for masks, weights in spy.batches:
    for mask, weight in zip(masks, weights):
      assert not weight[~mask].any()
      cut += not mask.all()
  assert 0 < cut < 2 * len(spy.batches)


def test_a_ramp_holds_what_was_pruned_before_it():
  model = _fitted()
  before = toys.masks(model)
  model = tf_unilth.prune_low_magnitude(
    tf_unilth.strip_pruning(model), tf_unilth.IterativeSparsity(0.8, rounds=1)
  )
  for kernel, mask in zip(PrunedLayers(model).kernels, before):
    kernel.mask.assign(mask)
  toys.compiled_for_labels(model)
  spy = toys.Spy()
  toys.fit(model, tf_unilth.DLTH(verbose=0), spy, epochs=4)
  for _, weights in spy.batches:
    for mask, weight in zip(before, weights):
      assert not weight[~mask].any()
  assert not before[0].all()


class _Traced(keras.Sequential):
  """Counts how often its train step is traced."""

  traces = 0

  def train_step(self, data):
    self.traces += 1
    return super().train_step(data)


@pytest.mark.parametrize(
  ('callback', 'more'),
  [(tf_unilth.LTH, 0), (tf_unilth.UniLTH, 1), (tf_unilth.DLTH, 1)],
)
def test_steps_are_traced_once_with_a_penalty_and_once_without(callback, more):
  model = _Traced(
    [
      keras.layers.Flatten(input_shape=(6, 6, 1)),
      tf_unilth.prune_low_magnitude(
        keras.layers.Dense(2), tf_unilth.IterativeSparsity(0.5, rounds=3)
      ),
    ]
  )
  toys.compiled_for_labels(model)
  toys.fit(model, callback(verbose=0), epochs=12)
  # Keras makes metrics in the first trace, after which TensorFlow traces again.
  assert model.traces == 2 + more


# Who holds the masks.


@pytest.fixture
def traced(monkeypatch):
  """Counts how often masks are put into a forward pass."""
  calls = []
  original = keras_access.Pruning.weight_mask_op

  def weight_mask_op(self):
    calls.append(self)
    return original(self)

  monkeypatch.setattr(keras_access.Pruning, 'weight_mask_op', weight_mask_op)
  return calls


def _ticket() -> keras.Model:
  model = tf_unilth.prune_low_magnitude(
    toys.dense(), tf_unilth.IterativeSparsity(0.5, rounds=1)
  )
  return toys.compiled_for_labels(model)


def _fitted() -> keras.Model:
  model = _ticket()
  toys.fit(model, tf_unilth.LTH(verbose=0), epochs=3)
  return model


def _masked(model: keras.Model) -> np.ndarray:
  """Returns what the model computes with its masks, whoever holds them."""
  ticket = toys.dense()
  arrays = iter(w.numpy() for w in PrunedLayers(model).model_weights)
  ticket.set_weights(list(arrays))
  for layer, mask in zip(ticket.layers[1:], toys.masks(model)):
    layer.kernel.assign(layer.kernel * mask)
  return ticket.predict(toys.data()[0], verbose=0)


def test_forward_passes_of_a_ticket_fit_do_not_mask(traced):
  model = _ticket()
  traced.clear()
  predicted = []

  def predict(epoch, logs):
    result = model.predict(toys.data()[0], verbose=0)
    predicted.append((result, _masked(model)))

  callback = keras.callbacks.LambdaCallback(on_epoch_end=predict)
  toys.fit(model, tf_unilth.LTH(verbose=0), callback, epochs=3)
  assert not traced
  for result, expected in predicted:
    np.testing.assert_array_equal(result, expected)


def test_tfmots_wrapper_does_not_mask_in_a_ticket_fit_either(traced):
  model = toys.wrapped(toys.dense(), tf_unilth.IterativeSparsity(0.5, rounds=1))
  traced.clear()
  toys.fit(model, tf_unilth.LTH(verbose=0), epochs=3)
  assert not traced
  model(toys.data()[0])  # Others may call it at any time.
  assert traced


@pytest.mark.parametrize('train', ['fit', 'train_on_batch', 'loop'])
def test_training_without_a_ticket_callback_masks_again(train):
  model = _fitted()
  x, y = toys.data()
  model.evaluate(x, y, verbose=0)  # Traced without masks.
  if train == 'fit':
    model.fit(x, y, verbose=0)
  elif train == 'train_on_batch':
    model.train_on_batch(x, y)
  else:
    with tf.GradientTape() as tape:
      loss = tf.reduce_sum(model(x, training=True))
    variables = model.trainable_variables
    gradients = tape.gradient(loss, variables)
    model.optimizer.apply_gradients(zip(gradients, variables))
  kernel, mask = toys.kernels(model)[0], toys.masks(model)[0]
  assert kernel[~mask].any()  # As tfmot leaves them between steps.
  expected = _masked(model)
  np.testing.assert_array_equal(model.predict(x, verbose=0), expected)


def test_weights_that_were_not_zero_are_when_a_fit_begins():
  model = _fitted()
  toys.fit(model, epochs=1)  # Leaves pruned weights that are not zero.
  spy = toys.Spy()
  toys.fit(model, tf_unilth.LTH(verbose=0), spy, epochs=1)
  for masks, weights in spy.batches:
    for mask, weight in zip(masks, weights):
      assert not weight[~mask].any()


def test_a_fit_that_died_leaves_no_weights_unmasked():
  class Die(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
      raise KeyboardInterrupt

  model = _ticket()
  with pytest.raises(KeyboardInterrupt):
    toys.fit(model, tf_unilth.LTH(verbose=0), Die())
  model.make_train_function()  # As the next fit does.
  _densify(model)
  x = toys.data()[0]
  np.testing.assert_allclose(model(x), _masked(model), 1e-5, 1e-5)


def _densify(model: keras.Model) -> None:
  for kernel in PrunedLayers(model).kernels:
    kernel.weight.assign_add(tf.ones_like(kernel.weight))


def test_evaluations_after_a_fit_mask_once(traced):
  model = _fitted()
  traced.clear()
  x, y = toys.data()
  for _ in range(2):
    _densify(model)
    predicted = model.predict(x, verbose=0)
    np.testing.assert_array_equal(predicted, _masked(model))
    _densify(model)
    loss, _ = model.evaluate(x, y, verbose=0)
    expected = keras.losses.sparse_categorical_crossentropy(
      y, _masked(model), from_logits=True
    )
    np.testing.assert_allclose(loss, np.mean(expected), 1e-5)
  assert not traced
  toys.fit(model, tf_unilth.LTH(verbose=0), epochs=3)
  assert model.test_step.__closure__
  assert model.test_step.__name__ == 'unmasked_step'
  inner = [c.cell_contents for c in model.test_step.__closure__]
  assert 'unmasked_step' not in [getattr(i, '__name__', '') for i in inner]


@pytest.mark.parametrize('value', [np.nan, np.inf, -1.0])
def test_an_evaluation_sets_to_zero_whatever_is_masked(value):
  model = _fitted()
  expected = _masked(model)
  for kernel in PrunedLayers(model).kernels:
    pruned = kernel.mask.numpy() == 0
    assert pruned.any()
    kernel.weight.assign(np.where(pruned, value, kernel.weight.numpy()))
  predicted = model.predict(toys.data()[0], verbose=0)
  np.testing.assert_array_equal(predicted, expected)
  for kernel in PrunedLayers(model).kernels:
    zeros = kernel.weight.numpy()[kernel.mask.numpy() == 0]
    assert not np.any(zeros) and not np.any(np.signbit(zeros))


def test_what_others_traced_in_a_ticket_fit_masks():
  model = _ticket()
  x = tf.constant(toys.data()[0])
  other = keras.Model(model.inputs, model.outputs)
  mine = tf.function(lambda x: model(x, training=False))

  def trace(epoch, logs):
    other.predict(x, verbose=0)
    mine(x)

  callback = keras.callbacks.LambdaCallback(on_epoch_end=trace)
  toys.fit(model, tf_unilth.LTH(verbose=0), callback, epochs=3)
  for predict in (lambda: other.predict(x, verbose=0), lambda: mine(x)):
    _densify(model)
    np.testing.assert_allclose(predict(), _masked(model), 1e-5, 1e-5)


def test_weights_that_a_callback_writes_are_masked_in_the_next_epoch():
  model = _ticket()
  spy = toys.Spy()
  write = keras.callbacks.LambdaCallback(
    on_epoch_end=lambda epoch, logs: _densify(model)
  )
  toys.fit(model, tf_unilth.LTH(verbose=0), spy, write, epochs=3)
  masks, weights = spy.batches[-1]
  assert not masks[0].all() and not weights[0][~masks[0]].any()


class _KeptStep(keras.Sequential):
  """A model whose steps are a function of the user's own."""

  @tf.function
  def train_step(self, data):
    return super().train_step(data)


@pytest.mark.parametrize('run_eagerly', [False, True])
def test_a_ramp_works_in_a_train_step_that_is_a_function(run_eagerly):
  sums = []
  for kind in (keras.Sequential, _KeptStep):
    keras.utils.set_random_seed(0)
    model = kind(
      [
        keras.layers.Flatten(input_shape=(6, 6, 1)),
        tf_unilth.prune_low_magnitude(
          keras.layers.Dense(2), tf_unilth.IterativeSparsity(0.5, rounds=2)
        ),
      ]
    )
    optimizer = keras.optimizers.SGD(0.1)
    toys.compiled_for_labels(model, optimizer, run_eagerly=run_eagerly)
    spy = toys.Spy()
    ramp = tf_unilth.L2Ramp(limit=2.0)
    toys.fit(
      model,
      tf_unilth.UniLTH(ramp=ramp, verbose=0),
      spy,
      epochs=6,
      shuffle=False,
    )
    sums.append([np.abs(weights[0]).sum() for _, weights in spy.batches])
  np.testing.assert_allclose(*sums, rtol=1e-5)


def test_a_train_step_that_is_a_function_holds_what_its_ramp_did_not_know():
  model = _KeptStep(
    [
      keras.layers.Flatten(input_shape=(6, 6, 1)),
      tf_unilth.prune_low_magnitude(
        keras.layers.Dense(2), tf_unilth.IterativeSparsity(0.5, rounds=1)
      ),
    ]
  )
  toys.compiled_for_labels(model)
  spy = toys.Spy()
  toys.fit(model, tf_unilth.DLTH(verbose=0), spy, epochs=4)
  masks, weights = spy.batches[-1]
  assert not masks[0].all() and not weights[0][~masks[0]].any()


class _Compiled(keras.Sequential):
  """A model whose forward pass is a function of the user's own."""

  @tf.function
  def forward(self, x, training):
    return super().call(x, training=optimization)

  def call(self, x, training=False):
    return self.forward(x, bool(optimization))


def test_a_function_inside_of_the_model_masks_when_others_train_it():
  model = _Compiled(
    [
      keras.layers.Flatten(input_shape=(6, 6, 1)),
      tf_unilth.prune_low_magnitude(
        keras.layers.Dense(2), tf_unilth.IterativeSparsity(0.5, rounds=1)
      ),
    ]
  )
  toys.compiled_for_labels(model)
  toys.fit(model, tf_unilth.LTH(verbose=0), epochs=3)
  toys.fit(model, epochs=1, validation_data=None)
  x = toys.data()[0]
  wrapper = PrunedLayers(model).wrappers[0]
  assert wrapper.layer.kernel.numpy()[wrapper.pruning_vars[0][1] == 0].any()
  predicted = model.predict(x, batch_size=8, verbose=0)  # Traced before.
  kernel, mask, _ = wrapper.pruning_vars[0]
  expected = x.reshape(len(x), -1) @ (kernel * mask) + wrapper.layer.bias
  np.testing.assert_allclose(predicted, expected, 1e-5, 1e-5)
