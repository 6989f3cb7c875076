"""The lecture, row by row: what each system is, how it works, used for, fails at."""
