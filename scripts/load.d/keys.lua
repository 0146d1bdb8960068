-- Requests for keys one after the other, from a start that differs by thread; wrk runs it.
-- usage: wrk -s keys.lua URL -- KEYS
local threads = 0
function setup(thread)
    thread:set("first", threads * 7919)
    threads = threads + 1
end

local keys, next_key
function init(args)
    keys = tonumber(args[1])
    next_key = first
end

function request()
    next_key = (next_key + 1) % keys
    return wrk.format("GET", "/1k?" .. next_key)
end
