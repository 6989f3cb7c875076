"""What a trained system owes to others: what it learnt from, what it gives back, who drew it."""
