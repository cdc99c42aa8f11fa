"""Where documents come from: one source a file."""
