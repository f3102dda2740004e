"""Report events as log lines, metrics and spans, and keep the appraisal log in a file."""
