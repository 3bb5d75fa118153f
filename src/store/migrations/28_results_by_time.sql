-- Marks of reports are deleted by their age, a few at a time.
CREATE INDEX results_by_time ON results (at_ms);
