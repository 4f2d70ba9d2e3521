"""The only room that opens files: readers, writers, stores."""
