"""Check the references in an answer: those that cannot exist, and those in the user's library."""
