"""Results of protocols: their files, tables and pages."""
