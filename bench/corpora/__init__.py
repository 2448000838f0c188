"""What is uploaded, searched and judged."""
