"""In and out of other projects' formats."""
