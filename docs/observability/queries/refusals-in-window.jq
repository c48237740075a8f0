# Answers of 4xx between two moments, most frequent first, each with the id of its last request.
# Arguments: from, to (as in 2026-10-08T12:00:00Z; the second is outside).
map(select(.message == "request" and .status >= 400 and .status < 500))
| map(select((.timestamp | rtrimstr("Z")) >= ($from | rtrimstr("Z")) and (.timestamp | rtrimstr("Z")) < ($to | rtrimstr("Z"))))
| group_by([.method, .route, .status, .code])
| map({method: .[0].method, route: .[0].route, status: .[0].status, code: .[0].code, requests: length,
       users: (map(.user) | map(select(. != null)) | unique | length), last_request_id: (sort_by(.timestamp) | last.request_id)})
| sort_by(-.requests, .route, .status)
