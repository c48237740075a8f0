# Sign-ins that failed or were blocked, by the address that they came from, most frequent first. `identities` says how many were tried.
map(select(.audit == "signin.failed" or .audit == "signin.blocked"))
| group_by(.address)
| map({address: .[0].address, failed: (map(select(.audit == "signin.failed")) | length),
       blocked: (map(select(.audit == "signin.blocked")) | length), identities: (map(.user) | unique | length),
       first: (map(.timestamp) | min), last: (map(.timestamp) | max)})
| sort_by(-(.failed + .blocked), .address)
