"""The commands: `paymux demo`, `serve`, `sandbox`, `provision`, `explain`, `doctor`."""
