"""Answers as the web console's chat reads them: one text body in, one message or a stream out."""
