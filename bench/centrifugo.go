package main

import (
	"encoding/json"
	"os"
	"time"

	"github.com/centrifugal/protocol"
)

// centrifugo starts Centrifugo with its defaults, Redis, and a channel for each user, to which it subscribes who connects. Messages
// are published to Redis as one of its own nodes does it: so its API takes no part, as our database takes none.
func (r *rig) centrifugo(host string) (*target, error) {
	t := &target{name: "centrifugo", address: host + ":8000"}
	type object = map[string]any
	text, err := json.Marshal(object{
		"http_server": object{"address": host, "port": 8000},
		"log":         object{"level": "error"},
		"client": object{
			"token":                              object{"hmac_secret_key": secret},
			"allowed_origins":                    []string{"*"},
			"subscribe_to_user_personal_channel": object{"enabled": true},
		},
		"engine": object{"type": "redis", "redis": object{"address": []string{r.redisURL}}},
	})
	if err != nil {
		return nil, err
	}
	file, err := os.CreateTemp("", "centrifugo-*.json")
	if err != nil {
		return nil, err
	}
	defer os.Remove(file.Name())
	if _, err := file.Write(text); err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	if err := t.run(r.bin+"/centrifugo", []string{"--config", file.Name()}, nil); err != nil {
		return t, err
	}
	var n int64
	t.publish = pipeline(r.redis, func(user int) string { return "centrifugo.client.#" + userName(user) }, func(at time.Time) []byte {
		n++
		encoded, err := (&protocol.Publication{Data: appendNotification(nil, n, at)}).MarshalVT()
		if err != nil {
			panic(err) // bytes can be encoded
		}
		return encoded
	})
	return t, nil
}
