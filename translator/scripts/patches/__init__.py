"""Always-on scripts that change the model; `readers` is their table."""
