"""Users and how they prove who they are; what they may have, and what they did."""
