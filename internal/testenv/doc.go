// Package testenv gives tests the real services that they ask for, each test its own: a SQLite file, a database on the
// PostgreSQL server of TEST_POSTGRES_URL, a database on the Redis of TEST_REDIS_URL, or a whole Redis server.
//
// A service that isn't there skips the test, and fails it under DUEBELL_REQUIRE_SERVICES=1, which `make test` sets.
//
//	databases.go  Databases, SQLite, Postgres
//	redis.go      Redis
//	server.go     RedisServer
package testenv
