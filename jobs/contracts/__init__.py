"""What goes into an analysis and what comes out of it, as data: columns, tables, parameters, errors."""
