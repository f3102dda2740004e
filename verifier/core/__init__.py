"""The pure core: no clock, file, socket, environment, logging or randomness; everything is passed in."""
