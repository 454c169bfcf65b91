"""What a search trains, and its report."""
