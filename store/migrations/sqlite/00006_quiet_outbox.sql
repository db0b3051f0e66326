-- +goose Up

-- PostgreSQL's triggers; here the program that writes wakes its own relay.
SELECT 1;

-- +goose Down
SELECT 1;
