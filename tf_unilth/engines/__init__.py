"""What knows a framework; a module per framework."""
