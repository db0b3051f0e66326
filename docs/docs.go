// Package docs carries the published specifications, so that the programs serve exactly what was checked against them.
package docs

import _ "embed"

// OpenAPI describes the inbox, ingest and operator APIs (OpenAPI 3.0).
//
//go:embed openapi.yaml
var OpenAPI []byte

// AsyncAPI describes the socket's messages (AsyncAPI 3.0).
//
//go:embed asyncapi.yaml
var AsyncAPI []byte
