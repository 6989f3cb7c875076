"""The audits of ``souron audit``, one file each."""
