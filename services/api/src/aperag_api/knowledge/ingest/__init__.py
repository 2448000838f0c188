"""Events of other services that bring, replace and delete documents."""
