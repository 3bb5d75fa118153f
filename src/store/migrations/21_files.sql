-- The tree of the stack's files that belong to a release, and what stood in the stack's folder before they were written there.
ALTER TABLE runs ADD COLUMN files TEXT;
ALTER TABLE runs ADD COLUMN files_before TEXT;
