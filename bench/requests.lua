-- wrk sends the requests of a file in turn: each a line with its length and then its bytes.
-- wrk -s requests.lua URL -- FILE; prints one JSON line when done.
local requests, n, i = {}, 0, 0

function init(args)
    local file = assert(io.open(args[1], "rb"))
    while true do
        local length = file:read("*n")
        if not length then break end
        file:read(1)
        n = n + 1
        requests[n] = file:read(length)
    end
    file:close()
end

function request()
    i = i % n + 1
    return requests[i]
end

function done(summary, latency, _)
    local e = summary.errors
    io.write(string.format(
        '{"requests":%d,"us":%d,"not_2xx":%d,"failed":%d,"p50_us":%d,"p99_us":%d}\n',
        summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout,
        latency:percentile(50), latency:percentile(99)))
end
