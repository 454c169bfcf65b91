"""The axis of an `EinsumDense` kernel over which the layer sums."""


def summed_axis(equation: str) -> int:
  """Returns the innermost summed axis of an einsum's second operand.

  Args:
    equation: the equation of the layer.

  Returns:
    A negative axis; -2 if no axis is summed.

  >>> summed_axis('abc,cde->abde')
  -3
  """
  operands, _, result = equation.partition('->')
  kernel = operands.split(',')[1].strip()
  summed = [i for i, label in enumerate(kernel) if label not in result]
  return summed[-1] - len(kernel) if summed else -2
