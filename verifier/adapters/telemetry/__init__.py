"""Log, metrics, spans and the appraisal log file."""
