"""Programs that look for faults by chance, and short forms of them as tests."""
