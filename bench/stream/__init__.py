"""How soon what an agent says reaches whoever reads it: our subjects, a queue in the process, Redis' channels."""
