"""Framework-specific code, one package per framework."""
