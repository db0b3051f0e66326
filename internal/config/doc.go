// Package config reads the environment, once, checks it whole, and tells every problem together.
//
//	config.go     Config, Load
//	variables.go  the table of all variables: name, default, how it is read
//	checks.go     what values may be
package config
