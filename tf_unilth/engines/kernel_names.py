"""The names of kernels, the same for the models of both Kerases."""

from collections.abc import Sequence


def kernel_names(layer_name: str, paths: Sequence[str]) -> list[str]:
  """Returns distinct names for the kernels of a layer.

  Args:
    layer_name: the name of the layer, which alone names a single kernel.
    paths: the path of each kernel, with slashes. The ends of the paths
      distinguish several kernels.

  >>> kernel_names('lstm', ['lstm/lstm_cell/kernel', 'lstm/lstm_cell/bias'])
  ['lstm/kernel', 'lstm/bias']
  >>> kernel_names('dense', ['dense/kernel'])
  ['dense']
  """
  if len(paths) == 1:
    return [layer_name]
  parts = [path.split('/') for path in paths]
  longest = max((len(path) for path in parts), default=1)
  depth = next(
    (d for d in range(1, longest) if _are_distinct(parts, d)), longest
  )
  return ['/'.join([layer_name, *path[-depth:]]) for path in parts]


def _are_distinct(paths: Sequence[Sequence[str]], depth: int) -> bool:
  return len({tuple(path[-depth:]) for path in paths}) == len(paths)
