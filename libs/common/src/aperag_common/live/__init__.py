"""What happens in a chat turn, told live on ephemeral subjects, and from the turn's row where nobody tells it any more."""
