"""Forms of the studio: widgets from the signatures of commands and systems."""
