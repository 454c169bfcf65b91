"""Which weights are pruned: sparsity per round, ranking, pruning units.

NumPy alone; imports no framework.
"""
