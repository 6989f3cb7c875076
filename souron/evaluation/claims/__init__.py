"""Compare a sentence with a passage: numbers, dates, sides, negation and names; and judge both."""
