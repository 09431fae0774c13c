-- Sends each request to authgate first, and forwards it to the app only after a 200: http-request lua.authgate VERIFY_PATH
-- The next rule must deny requests without the variable txn.authgate_allowed: HAProxy ignores errors in Lua.
--
-- It uses HAProxy's own `listen authgate`, because core.httpclient alone retries for 3 s when the gate is down, and has
-- no timeout for a gate that hangs.

local IDENTITY = {
    "x-auth-request-user",
    "x-auth-request-groups",
    "x-auth-request-uid",
    "x-auth-request-issuer",
    "x-auth-request-cluster",
    "x-auth-request-namespace",
    "x-auth-request-service-account",
    "x-auth-request-pod",
    "x-auth-request-email",
    "x-auth-request-preferred-username",
}
local HANDED_ON = { "www-authenticate", "x-auth-reason", "retry-after", "cache-control" }

local function unavailable(txn)
    local reply = txn:reply({ status = 503 })
    reply:add_header("x-request-id", txn.sf:unique_id())
    reply:add_header("retry-after", "5")
    reply:add_header("cache-control", "no-store")
    txn:done(reply)
end

local function denied(txn, answer)
    local reply = txn:reply({ status = answer.status })
    reply:add_header("x-request-id", txn.sf:unique_id())
    txn:set_var("txn.authgate_reason", answer.headers["x-auth-reason"][0])
    for _, name in ipairs(HANDED_ON) do
        for _, value in pairs(answer.headers[name] or {}) do
            reply:add_header(name, value)
        end
    end
    txn:done(reply)
end

-- Returns every value of a header in order; HAProxy counts from 0.
local function each(values)
    local at = -1
    return function()
        at = at + 1
        return values and values[at]
    end
end

-- Returns the first two as a Lua list, which counts from 1, or nil without values. The gate rejects a second value, and
-- HAProxy 2.6 crashes if a request of core.httpclient has about a hundred headers.
local function some(values)
    return values and { values[0], values[1] }
end

-- Adds a header, and returns whether all its values were added: if the buffer is full, HAProxy silently adds nothing
-- (tune.bufsize, tune.maxrewrite).
local function added(http, name, values)
    local expected = 0
    for value in each(values) do
        http:req_add_header(name, value)
        expected = expected + 1
    end
    local found = 0
    for _ in each(http:req_get_headers()[name]) do
        found = found + 1
    end
    return found == expected
end

local function identified(http, headers)
    for _, name in ipairs(IDENTITY) do
        if not headers[name] or not added(http, name, headers[name]) then
            return false
        end
    end
    return true
end

core.register_action("authgate", { "http-req" }, function(txn, path)
    local seen = txn.http:req_get_headers()
    local headers = {
        ["x-original-method"] = { txn.sf:method() },
        ["x-original-uri"] = { txn.sf:pathq() },
        ["x-original-host"] = some(seen["host"]),
        ["x-forwarded-for"] = { txn.sf:src() },
        ["x-request-id"] = { txn.sf:unique_id() },
        ["traceparent"] = some(seen["traceparent"]),
        ["authorization"] = some(seen["authorization"]),
        ["origin"] = some(seen["origin"]),
        ["access-control-request-method"] = some(seen["access-control-request-method"]),
    }
    local answer = core.httpclient():get({
        url = "http://authgate" .. path,
        headers = headers,
        dst = "abns@authgate-8000",
    })
    if answer and answer.status == 200 then
        if identified(txn.http, answer.headers) then
            txn:set_var("txn.authgate_allowed", true)
        else
            unavailable(txn)
        end
    elseif answer and (answer.status == 401 or answer.status == 403 or answer.status == 503)
        and answer.headers["x-auth-reason"] then
        denied(txn, answer)
    else
        unavailable(txn)
    end
end, 1)
