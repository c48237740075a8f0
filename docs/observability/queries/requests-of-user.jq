# A user's requests, oldest first. Argument: user.
map(select(.message == "request" and .user == $user))
| map({timestamp, request_id, device, method, route, status, code, latency_us, address, platform, app_version})
