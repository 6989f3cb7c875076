"""Texts as data: sentences, tokens, chat templates, web pages, exam papers."""
