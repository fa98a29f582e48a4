"""The checks of scripts/shipped: one file for each thing that is shipped."""
