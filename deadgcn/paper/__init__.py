"""From notebooks to a paper: parameters, execution, report, verification. Nothing below imports it."""
