"""What a thing is: one file per kind. A kind reads a file, checks it, and shows itself."""
