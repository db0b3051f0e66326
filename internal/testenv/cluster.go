package testenv

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Cluster is a Redis Cluster of a test's own: three masters without replicas.
type Cluster struct {
	// URL is its REDIS_URL.
	URL   string
	Nodes []*Server
}

// RedisCluster starts one on free loopback ports, and returns when all nodes agree that it is whole. It ends with the test.
func RedisCluster(t testing.TB) *Cluster {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		Missing(t, "redis-server is not installed")
	}
	const nodes, slots = 3, 16384
	c := &Cluster{}
	var addresses []string
	buses := make([]int, nodes)
	for i := range nodes {
		s := newServer(t, func() []string {
			buses[i] = freePort(t)
			return []string{"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(buses[i]), "--cluster-node-timeout", "2000"}
		})
		c.Nodes = append(c.Nodes, s)
		addresses = append(addresses, fmt.Sprintf("127.0.0.1:%d", s.port))
	}
	c.URL = "redis+cluster://" + strings.Join(addresses, ",")
	ctx, cancel := context.WithTimeout(t.Context(), setupTimeout)
	defer cancel()
	for i, address := range addresses {
		node := redis.NewClient(&redis.Options{Addr: address})
		defer node.Close()
		if err := node.ClusterAddSlotsRange(ctx, i*slots/nodes, (i+1)*slots/nodes-1).Err(); err != nil {
			t.Fatal(err)
		}
		if err := node.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			if err := node.Do(ctx, "CLUSTER", "MEET", "127.0.0.1", c.Nodes[0].port, buses[0]).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, address := range addresses {
		node := redis.NewClient(&redis.Options{Addr: address})
		defer node.Close()
		for {
			info, err := node.ClusterInfo(ctx).Result()
			if err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", nodes)) {
				break
			}
			select {
			case <-ctx.Done():
				t.Fatalf("the Redis Cluster doesn't come up: %v\n%s", err, info)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return c
}
