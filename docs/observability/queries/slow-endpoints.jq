# Routes by how long the slowest twentieth of their requests takes, slowest first.
def at(share): sort | .[((length - 1) * share) | floor];
map(select(.message == "request"))
| group_by([.method, .route])
| map({method: .[0].method, route: .[0].route, requests: length, median_us: (map(.latency_us) | at(0.5)),
       p95_us: (map(.latency_us) | at(0.95)), max_us: (map(.latency_us) | max),
       slowest_request_id: (max_by(.latency_us) | .request_id)})
| sort_by(-.p95_us)
