"""Whether a sweep's winner is one: it and the presets trained anew over fresh seeds, then the test split, once."""
