-- The steps of a deployment are found without reading its journal.
CREATE INDEX steps_by_deployment ON lines (deployment, position) WHERE kind = 'step';
