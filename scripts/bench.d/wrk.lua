-- For wrk: requests of one kind, or those of a list of paths in turn, and the results as one line for a script.
-- usage: wrk -s wrk.lua URL -- [METHOD [LIST [FIELD VALUE]...]]    LIST is a file of paths, or - for the path of URL
local paths, at = nil, 0

function init(args)
    wrk.method = args[1] or "GET"
    for i = 3, #args - 1, 2 do wrk.headers[args[i]] = args[i + 1] end
    if args[2] and args[2] ~= "-" then
        paths = {}
        for path in io.lines(args[2]) do paths[#paths + 1] = wrk.format(nil, path) end
    end
    plain = wrk.format()
end

function request()
    if not paths then return plain end
    at = at % #paths + 1
    return paths[at]
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format("RESULT %d %d %d %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(50),
        latency:percentile(99), latency:percentile(99.9), errors.connect + errors.read + errors.write + errors.timeout,
        errors.status))
end
