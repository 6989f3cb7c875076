"""The words of a command line: arguments, and options that commands share."""
