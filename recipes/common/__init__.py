"""What every room of the recipes may use."""
