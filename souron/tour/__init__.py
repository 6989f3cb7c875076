"""The guided tour of ``souron tour``: highlights on one page, and chapters that show families of systems at work."""
