"""What scripts/shipped checks, a file for each thing that is shipped."""
