"""Cloud and shadow masks; one file per method."""
