"""Random operations of TensorFlow graphs whose state cannot be restored."""

from collections.abc import Iterable, Sequence
from typing import Any

from tf_unilth.user_warning import warn_user


def stateful_random(graphs: Iterable[Any]) -> list[str]:
  """Returns the names of operations that draw from a state of their own.

  Args:
    graphs: GraphDefs.
  """
  names: set[str] = set()
  for graph in graphs:
    functions = [function.node_def for function in graph.library.function]
    for nodes in (graph.node, *functions):
      names |= {
        node.name
        for node in nodes
        # Keras draws the dropout of cuDNN layers outside of these operations.
        if 'seed2' in node.attr and not node.op.startswith('CudnnRNN')
      }
  return sorted(names)


def warn(names: Sequence[str]) -> None:
  """Warns of random operations whose state cannot be restored.

  Args:
    names: their names, which may be none.
  """
  if names:
    warn_user(
      f'operations {", ".join(names[:5])} draw random numbers from a state '
      'that TensorFlow cannot save, so a resumed run would not end as an '
      'uninterrupted one: use a tf.random.Generator or layers of Keras.',
    )
