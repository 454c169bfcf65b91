"""What a user passes to a run that needs no framework of its own."""
