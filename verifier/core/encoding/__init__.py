"""Read DER, CMS and JSON strictly, and BER tolerantly for reports."""
