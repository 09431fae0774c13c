-- Sends the tokens of a file in turn: wrk -s wrk.lua URL -- FILE SKIP COUNT once|round [ids]
--
-- With "once" each token is sent once and never again: the clock stops when the last one is on its way, wrk ends, and
-- the rate is that of this fixed work. With "round" they go round until the time is up.

local ffi = require("ffi")
ffi.cdef [[
typedef struct { long sec; long nsec; } bench_timespec;
int clock_gettime(int clock, bench_timespec *now);
int getpid(void);
int kill(int pid, int signal);
]]

local MONOTONIC, SIGINT = 1, 2
local moment = ffi.new("bench_timespec")

local function seconds()
    ffi.C.clock_gettime(MONOTONIC, moment)
    return tonumber(moment.sec) + tonumber(moment.nsec) / 1e9
end

local threads = {}

function setup(thread)
    table.insert(threads, thread)
end

function init(args)
    local path, skip, count = args[1], tonumber(args[2]), tonumber(args[3])
    once = args[4] == "once"
    requests, sent, started, ended = {}, 0, 0, 0
    for line in io.lines(path) do
        if #requests == count then break end
        if skip > 0 then
            skip = skip - 1
        else
            local headers = { Authorization = "Bearer " .. line }
            if args[5] == "ids" then headers["X-Request-Id"] = string.format("%032x", #requests) end
            requests[#requests + 1] = wrk.format("GET", nil, headers)
        end
    end
    total = #requests
end

function request()
    sent = sent + 1
    if sent <= total then
        if sent == 1 then started = seconds() end
        return requests[sent]
    end
    if once then
        if sent == total + 1 then
            ended = seconds()
            ffi.C.kill(ffi.C.getpid(), SIGINT) -- wrk would sleep on until its time is up
        end
        wrk.thread:stop()
        return requests[total]
    end
    return requests[(sent - 1) % total + 1]
end

function done(summary, latency, _)
    local thread = threads[1]
    local errors = summary.errors
    io.write(string.format(
        'BENCH {"requests": %d, "seconds": %.6f, "fixed_work": %d, "fixed_seconds": %.6f, '
        .. '"p50_us": %d, "p99_us": %d, "refused": %d, "broken": %d}\n',
        summary.requests, summary.duration / 1e6, thread:get("total"),
        thread:get("ended") > 0 and thread:get("ended") - thread:get("started") or 0,
        latency:percentile(50), latency:percentile(99), errors.status,
        errors.connect + errors.read + errors.write + errors.timeout))
end
