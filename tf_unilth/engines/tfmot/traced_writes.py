"""Finds the variables that a graph writes while it is traced."""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tf_unilth.engines.tfmot import keras_access

# Any other operation that takes a variable's handle may write the variable.
_READS = frozenset(
  {
    'Identity',
    'ReadVariableOp',
    'ResourceGather',
    'ResourceGatherNd',
    'VarIsInitializedOp',
    'VariableShape',
    '_ReadVariablesOp',
  }
)


class GraphWrites:
  """Tracks which variables are written while a graph is traced.

  Args:
    graph: a `FuncGraph`. Operations that it already has are ignored.
  """

  def __init__(self, graph: Any):
    self._graph = graph
    self._written: set[int] = set()  # The ids of captured handles.
    self._next = len(graph.get_operations())
    self._functions: dict[str, bool] = {}

  def is_written(self, variable: Any) -> bool:
    """Returns whether a variable was written since tracking began."""
    self.scan()
    return bool(self._written) and (
      id(self._graph.capture(keras_access.handle(variable))) in self._written
    )

  def scan(self) -> None:
    """Records the writes that were traced since the last scan or skip."""
    for operation in self._new_operations():
      handles = [t for t in operation.inputs if t.dtype == tf.resource]
      if handles and self._writes(operation):
        self._written |= {id(handle) for handle in handles}

  def mark(self, variable: Any) -> None:
    """Records a variable as written."""
    self._written.add(id(self._graph.capture(keras_access.handle(variable))))

  def skip(self) -> None:
    """Ignores the operations that were traced since the last scan or skip."""
    self._new_operations()

  def _new_operations(self) -> list[Any]:
    operations = self._graph.get_operations()
    begin, self._next = self._next, len(operations)
    return operations[begin:]

  def _writes(self, operation: Any) -> bool:
    if operation.type in _READS:
      return False
    called = list(_called(operation.node_def))
    if called:  # A function, branch or loop writes if its body does.
      return any(self._function_writes(name) for name in called)
    return True

  def _function_writes(self, name: str) -> bool:
    if name not in self._functions:
      self._functions[name] = False  # It may call itself.
      definition = self._graph._get_function(name)
      nodes = [] if definition is None else _nodes(definition)
      self._functions[name] = definition is None or any(
        self._node_writes(node) for node in nodes
      )
    return self._functions[name]

  def _node_writes(self, node: Any) -> bool:
    called = list(_called(node))
    if called:
      return any(self._function_writes(name) for name in called)
    # The input types of a node are unknown, so go by the name.
    return node.op not in _READS and node.op.startswith(
      ('Assign', 'Resource', 'Scatter')
    )


def _called(node: Any) -> Iterator[str]:
  """Yields the names of the functions that a node calls."""
  for attribute in node.attr.values():
    if attribute.func.name:
      yield attribute.func.name
    for function in attribute.list.func:
      yield function.name


def _nodes(function: Any) -> Any:
  definition = getattr(function, 'cached_definition', None)
  if definition is None:
    definition = function.function_def
  return definition.node_def
