-- How the caller of an order proved who they are, where its own word does not say so: 'oidc' for the token of a job, whose caller is
-- stored as the key of that name, which the version before can read.
ALTER TABLE deployments ADD COLUMN proof TEXT;
