"""How far language models reach into the tasks of occupations, or into one's own."""
