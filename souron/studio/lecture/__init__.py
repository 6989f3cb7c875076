"""Pages and routes of the lecture, of courses, and of teaching a model oneself."""
