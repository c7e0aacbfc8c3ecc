-- wrk sends the requests of a file in turn: each a line with its length and then its bytes.
-- wrk -s requests.lua URL -- FILE [FIRST]; prints one JSON line when done. Eight # in a request become a number,
-- FIRST and those behind it: as long as no other run had them, nothing is known of the request's text.
local requests, ends, n, i, count = {}, {}, 0, 0, 0

function init(args)
    local file = assert(io.open(args[1], "rb"))
    while true do
        local length = file:read("*n")
        if not length then break end
        file:read(1)
        n = n + 1
        requests[n] = file:read(length)
        local from, to = requests[n]:find("########", 1, true)
        if from then
            requests[n], ends[n] = requests[n]:sub(1, from - 1), requests[n]:sub(to + 1)
        end
    end
    file:close()
    count = tonumber(args[2] or 0)
end

function request()
    i = i % n + 1
    if not ends[i] then return requests[i] end
    count = count + 1
    return requests[i] .. string.format("%08d", count % 100000000) .. ends[i]
end

function done(summary, latency, _)
    local e = summary.errors
    io.write(string.format(
        '{"requests":%d,"us":%d,"not_2xx":%d,"failed":%d,"p50_us":%d,"p99_us":%d}\n',
        summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout,
        latency:percentile(50), latency:percentile(99)))
end
