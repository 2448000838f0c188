"""Who may do what with a collection: its owner, its subscribers, everybody."""
