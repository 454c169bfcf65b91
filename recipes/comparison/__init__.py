"""Methods compared: their settings, their runs, tables and plots."""
