#!/usr/bin/env python3
"""How many replicas of `macadam serve` a load needs: a simulation of what docs/scale.md describes.

    bench/scale_simulation.py --rates 10,20,40 --replicas 1,2,3,4
    bench/scale_simulation.py --times 1:2.1,2:2.9,4:4.8,8:8.6 --rates 500 --json

Photos arrive at random (Poisson) at a balancer, which gives each to a replica: in turn, or to the one
with the fewest unanswered. A replica runs one batch at a time, of all that wait and at most `max_batch`,
and begins as soon as it is idle (`max_delay_ms = 0`). As in the server, the photo that finds `queue`
unanswered ones is refused, and so is one that waits for longer than the deadline.

The default times are those of UNet-mini 512x256 in bf16 on two cores of a shared Xeon (docs/scale.md).
A size that is not named costs what the next larger one does: the server rounds batches up.
"""
import argparse
import collections
import heapq
import json
import math
import random
import sys

DEFAULT_TIMES = {1: 46.0, 2: 100.0, 4: 199.0, 8: 475.0}  # milliseconds
POLICIES = ("round-robin", "least-connections")


def service_times(sizes, max_batch):
    """Milliseconds of batches of 0 to max_batch photos, by the sizes that were measured."""
    if max_batch > max(sizes):
        raise ValueError(f"max_batch {max_batch} is larger than the largest size measured, {max(sizes)}")
    return [0.0] + [sizes[min(s for s in sizes if s >= n)] for n in range(1, max_batch + 1)]


class Replica:
    def __init__(self):
        self.waiting = collections.deque()  # times of arrival
        self.running = []
        self.busy = 0.0

    def unanswered(self):
        return len(self.waiting) + len(self.running)


def simulate(times, replicas, rate, *, requests=20000, policy="least-connections", queue=64,
             deadline_ms=10000.0, seed=1):
    """A dictionary of latencies (ms), refusals and utilization (0 to 1).

    times[n] is the service time of n photos in ms, rate in photos a second. The first tenth of the
    photos warms up and is not counted.
    """
    generator = random.Random(seed)
    fleet = [Replica() for _ in range(replicas)]
    max_batch = len(times) - 1
    done = []  # (when, replica): a heap
    latencies, refused, now = [], 0, 0.0
    counted_from, turn = requests // 10, 0
    begins = None  # of what is counted

    def start(index, when):
        replica = fleet[index]
        expired = 0
        while replica.waiting and when - replica.waiting[0][0] > deadline_ms:
            expired += replica.waiting.popleft()[1]
        replica.running = [replica.waiting.popleft() for _ in range(min(max_batch, len(replica.waiting)))]
        if replica.running:
            length = times[len(replica.running)]
            replica.busy += length if begins is not None else 0.0
            heapq.heappush(done, (when + length, index))
        return expired

    def finish_until(moment):
        nonlocal refused, now
        while done and done[0][0] <= moment:
            now, index = heapq.heappop(done)
            latencies.extend(now - arrived for arrived, counts in fleet[index].running if counts)
            fleet[index].running = []
            refused += start(index, now)

    arrival = 0.0
    for number in range(requests):
        arrival -= math.log(1.0 - generator.random()) * 1000.0 / rate
        finish_until(arrival)
        counts = number >= counted_from
        if counts and begins is None:
            begins = arrival
        if policy == "round-robin":
            index = turn = (turn + 1) % replicas
        else:  # the first of those with the fewest, counted from the one after the last
            index = min(range(replicas), key=lambda i: (fleet[i].unanswered(), (i - turn - 1) % replicas))
            turn = index
        replica = fleet[index]
        if replica.unanswered() >= queue:
            refused += counts
            continue
        replica.waiting.append((arrival, counts))
        if not replica.running:
            refused += start(index, arrival)
    finish_until(math.inf)

    latencies.sort()
    total = len(latencies) + refused

    def percentile(part):
        return latencies[min(len(latencies) - 1, int(part * len(latencies)))] if latencies else math.nan

    return {"replicas": replicas, "rate": rate, "policy": policy, "max_batch": max_batch,
            "mean_ms": sum(latencies) / max(1, len(latencies)), "p50_ms": percentile(0.5),
            "p99_ms": percentile(0.99), "refused": refused / total,
            "utilization": sum(r.busy for r in fleet) / (replicas * (now - begins))}


def parse_times(text):
    """{photos: milliseconds} of "1:46,2:100"."""
    return {int(size): float(time) for size, time in (pair.split(":") for pair in text.split(","))}


def numbers(kind):
    return lambda text: [kind(part) for part in text.split(",")]


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--times", type=parse_times, default=DEFAULT_TIMES,
                        help="milliseconds of batches, SIZE:MS,... (default: see above)")
    parser.add_argument("--rates", type=numbers(float), default=[10.0, 20.0, 40.0], help="photos a second")
    parser.add_argument("--replicas", type=numbers(int), default=[1, 2, 3, 4])
    parser.add_argument("--max-batch", type=int, help="default: the largest size of --times")
    parser.add_argument("--queue", type=int, default=64, help="of a replica")
    parser.add_argument("--deadline-ms", type=float, default=10000.0)
    parser.add_argument("--requests", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        times = service_times(options.times, options.max_batch or max(options.times))
    except ValueError as error:
        parser.error(str(error))
    rows = [simulate(times, replicas, rate, requests=options.requests, policy=policy, queue=options.queue,
                     deadline_ms=options.deadline_ms, seed=options.seed)
            for rate in options.rates for replicas in options.replicas for policy in POLICIES]
    if options.json:
        json.dump(rows, sys.stdout, indent=1)
        print()
        return
    print("| photos/s | replicas | balancer | p50 ms | p99 ms | refused | busy |")
    print("|--:|--:|---|--:|--:|--:|--:|")
    for row in rows:
        print(f"| {row['rate']:g} | {row['replicas']} | {row['policy']} | {row['p50_ms']:.0f} "
              f"| {row['p99_ms']:.0f} | {row['refused']:.1%} | {row['utilization']:.0%} |")


if __name__ == "__main__":
    main(sys.argv[1:])
