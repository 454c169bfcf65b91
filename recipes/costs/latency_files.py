"""The files that `recipes.costs.latency` times: networks in several variants.

The weights are not trained: how long a call takes depends on which of them are
zero, not on their values.
"""

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tf_keras as keras

import tf_unilth
from recipes.networks import registry

layers = keras.layers
SAVED_MODEL, TFLITE = 'SavedModel', 'TFLite'


@dataclasses.dataclass(frozen=True)
class TimedFile:
  """A file whose calls are timed.

  Args:
    network: a key of `NETWORKS`, or `''` for a file that was there before.
    label: what the file is, unique in its network.
    base: the label of the file whose time it is compared with.
    path: of the SavedModel or TFLite file.
    bytes: its size.
    kernels: the number of kernels that are stored and run in each way, as the
      export tells them.
  """

  network: str
  label: str
  base: str
  path: str
  bytes: int
  kernels: dict[str, int] = dataclasses.field(default_factory=dict)


def _dense(width: int) -> keras.Model:
  """Returns two Dense layers of one width."""
  return keras.Sequential(
    [layers.Dense(width, 'relu', input_shape=(width,)), layers.Dense(width)],
    name=f'dense_{width}',
  )


# Input shape and classes as in the recipes.
_SHAPES: dict[str, tuple[tuple[int, ...], int]] = {
  'digits_cnn': ((8, 8, 1), 10),
  'lenet_300_100': ((28, 28, 1), 10),
  'small_cnn': ((16, 16, 3), 10),
  'resnet20': ((32, 32, 3), 10),
  'vgg16': ((32, 32, 3), 10),
  'resnet56': ((32, 32, 3), 100),
  'resnet18': ((64, 64, 3), 200),
  'mobilenet': ((224, 224, 3), 1000),
  'resnet50': ((224, 224, 3), 1000),
}
NETWORKS: dict[str, Callable[[], keras.Model]] = {
  **{
    f'dense_{width}': functools.partial(_dense, width)
    for width in (256, 1022, 1024, 2048)
  },
  **{
    name: functools.partial(registry.MODELS[name], keras, *shape)
    for name, shape in _SHAPES.items()
  },
}


def _zero_smallest(model: keras.Model, sparsity: float, block: int) -> None:
  """Sets the smallest weights of each kernel to zero.

  Args:
    model: a built model.
    sparsity: of each kernel, in [0, 1).
    block: how many inputs go together; above 1, as with `block_size`, kernels
      that are no matrices stay dense.
  """
  for weight in model.trainable_weights:
    rank = len(weight.shape)
    if rank < 2 or (block > 1 and rank > 2):
      continue
    values = weight.numpy()
    begins = np.arange(0, len(values), block)
    sums = np.add.reduceat(np.abs(values), begins, axis=0)
    sizes = np.diff([*begins, len(values)])
    scores = sums / sizes.reshape(-1, *[1] * (rank - 1))
    order = np.argsort(scores.ravel(), kind='stable')
    kept = np.ones(scores.size, bool)
    kept[order[: round(sparsity * scores.size)]] = False
    by_weight = kept.reshape(scores.shape).repeat(sizes, axis=0)
    weight.assign(np.where(by_weight, values, 0))


def _without_channels(model: keras.Model, share: float) -> keras.Model:
  """Returns a network without channels, drawn at random.

  They are those that a random ticket removes, of all groups an equal share.

  Args:
    model: a built model; it is changed.
    share: of its FLOPs to remove, in (0, 1).
  """
  schedule = tf_unilth.IterativeSparsity(share, rounds=1, of='flops')
  pruned = tf_unilth.prune_low_magnitude(model, schedule, structure='channels')
  # Three steps that change nothing: fewer epochs are too few for a ticket.
  pruned.compile(keras.optimizers.SGD(0.0), 'mse', run_eagerly=True)
  no_ramp = tf_unilth.L2Ramp(limit=0)
  inputs, outputs = (
    np.zeros((1, *shape[1:]), np.float32)
    for shape in (model.input_shape, model.output_shape)
  )
  pruned.fit(
    *(inputs, outputs),
    epochs=3,
    callbacks=[tf_unilth.DLTH(no_ramp, finetune_fraction=1.0, verbose=0)],
    verbose=0,
  )
  return tf_unilth.shrink(tf_unilth.strip_pruning(pruned))


@dataclasses.dataclass(frozen=True)
class Variant:
  """What is done to a network before its files are timed.

  Args:
    block: how many inputs are pruned together; 0 if nothing is pruned.
    quantization: of `export_tflite`; quantized networks have no SavedModel.
    removed_flops: share of the FLOPs that goes with whole channels, in [0, 1).
  """

  block: int = 0
  quantization: str | None = None
  removed_flops: float = 0.0

  @property
  def is_sparse(self) -> bool:
    """Whether there is one for each sparsity."""
    return self.block > 0

  def apply(self, model: keras.Model, sparsity: float) -> keras.Model:
    """Returns the network of the variant; changes `model`."""
    if self.block:
      _zero_smallest(model, sparsity, self.block)
    if self.removed_flops:
      return _without_channels(model, self.removed_flops)
    return model


DENSE = 'dense'
VARIANTS = {
  DENSE: Variant(),
  'unstructured': Variant(block=1),
  'blocks': Variant(block=4),
  'channels': Variant(removed_flops=0.75),
  'int8': Variant(quantization='int8'),
}


def write(
  network: str,
  variants: Sequence[str],
  sparsities: Sequence[float],
  folder: pathlib.Path,
) -> list[TimedFile]:
  """Writes the files of a network, the dense ones first.

  Args:
    network: a key of `NETWORKS`.
    variants: keys of `VARIANTS`.
    sparsities: of each kernel, in [0, 1), for the variants that have one.
    folder: an empty one.
  """
  files = []
  for name in dict.fromkeys([DENSE, *variants]):
    for sparsity in sparsities if VARIANTS[name].is_sparse else [0.0]:
      label = f'{name} {100 * sparsity:g}%' if sparsity else name
      files += _write_variant(network, name, sparsity, folder / label, label)
  return files


def _write_variant(
  network: str, name: str, sparsity: float, folder: pathlib.Path, label: str
) -> list[TimedFile]:
  keras.utils.set_random_seed(0)
  variant = VARIANTS[name]
  model = variant.apply(NETWORKS[network](), sparsity)
  samples = np.random.default_rng(0).random((64, *model.input_shape[1:]))
  folder.mkdir()
  path = str(folder / 'model.tflite')
  export = tf_unilth.export_tflite(
    model,
    path,
    variant.quantization,
    representative_data=samples if variant.quantization == 'int8' else None,
  )
  encodings = collections.Counter(k.encoding for k in export.kernels)
  files = [_file(network, TFLITE, label, path, export.bytes, dict(encodings))]
  if not variant.quantization:
    path = str(folder / 'saved_model')
    exported = tf_unilth.export_saved_model(model, path)
    files.append(
      _file(network, SAVED_MODEL, label, path, exported.total_bytes, {})
    )
  return files


def _file(network: str, runtime: str, label: str, *content: Any) -> TimedFile:
  base = f'{runtime}, {DENSE}'
  return TimedFile(network, f'{runtime}, {label}', base, *content)


def existing(paths: Sequence[str]) -> list[TimedFile]:
  """Returns files that were there before; the first is the base of all.

  Args:
    paths: of SavedModels and TFLite files.

  Raises:
    ValueError: a path is neither.
  """
  files = []
  for path in paths:
    place = pathlib.Path(path)
    if not (place / 'saved_model.pb').is_file() and not place.is_file():
      raise ValueError(
        f'--files: {path!r} is neither a SavedModel nor a TFLite file.'
      )
    inside = place.rglob('*') if place.is_dir() else [place]
    size = sum(file.stat().st_size for file in inside if file.is_file())
    files.append(TimedFile('', path, paths[0], path, size))
  return files
