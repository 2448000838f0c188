"""What every page shares: who asks, in which language and theme, under which protections, and how it is rendered."""
