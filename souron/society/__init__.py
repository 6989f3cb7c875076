"""What AI does among people: answers that stand in no source, work, improper words."""
