-- +goose Up

-- The same as PostgreSQL has; the notes are there.
CREATE TABLE imports (
  resource   TEXT NOT NULL,
  id         TEXT NOT NULL CHECK (length(id) BETWEEN 1 AND 128),
  attempt    BIGINT NOT NULL DEFAULT 1,
  lines      BIGINT NOT NULL DEFAULT 0,
  sum        TEXT NOT NULL DEFAULT '',
  accepted   BIGINT NOT NULL DEFAULT 0,
  rejected   BIGINT NOT NULL DEFAULT 0,
  errors     TEXT NOT NULL DEFAULT '[]',
  complete   BOOLEAN NOT NULL DEFAULT FALSE,
  updated_at TIMESTAMP NOT NULL,
  PRIMARY KEY (resource, id)
) WITHOUT ROWID;
CREATE INDEX imports_updated ON imports (updated_at);

-- +goose Down
DROP TABLE imports;
