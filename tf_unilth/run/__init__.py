"""Where a run stands and what comes next: budget, rounds, continuation.

Plain Python; imports no framework.
"""
