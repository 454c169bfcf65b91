"""Which weights are pruned: sparsity per round, ranking, pruning units.

Plain NumPy; imports no framework.
"""
