-- +goose Up

-- PostgreSQL's foreign keys; here they are cheap.
SELECT 1;

-- +goose Down
SELECT 1;
