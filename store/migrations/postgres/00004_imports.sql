-- +goose Up

-- How far an import is that its sender has given an id. lines of it are settled: what came of them was committed with this row,
-- so whoever goes on behind them neither loses nor doubles any. sum tells whether the same lines come again; attempt is the
-- request that goes on with it, and no earlier one may. errors is a JSON array of what was wrong with rows.
CREATE TABLE imports (
  resource   text COLLATE "C" NOT NULL,
  id         text COLLATE "C" NOT NULL CHECK (length(id) BETWEEN 1 AND 128),
  attempt    bigint NOT NULL DEFAULT 1,
  lines      bigint NOT NULL DEFAULT 0,
  sum        text NOT NULL DEFAULT '',
  accepted   bigint NOT NULL DEFAULT 0,
  rejected   bigint NOT NULL DEFAULT 0,
  errors     text NOT NULL DEFAULT '[]',
  complete   boolean NOT NULL DEFAULT false,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (resource, id)
);
CREATE INDEX imports_updated ON imports (updated_at);

-- +goose Down
DROP TABLE imports;
