"""The HTML reports and their pictures."""
