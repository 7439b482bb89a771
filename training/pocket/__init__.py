"""The pocket base's networks and how they are initialised."""
