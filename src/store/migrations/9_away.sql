-- How long the page was away while the run replaced its release.
ALTER TABLE runs ADD COLUMN away TEXT;
CREATE INDEX away_by_service ON runs (service, deployment) WHERE away IS NOT NULL;
