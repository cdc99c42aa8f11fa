"""One file -> its texts: a reader for each format."""
