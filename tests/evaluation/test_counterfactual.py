"""A sweep over halves of the documents tells what was known only by training on it."""
