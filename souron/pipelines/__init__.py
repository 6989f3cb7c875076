"""What people know from other libraries, on souron's systems."""
