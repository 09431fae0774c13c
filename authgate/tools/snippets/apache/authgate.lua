-- Sends each request to authgate first, and forwards it to the app only after a 200. LuaSocket keeps one connection per
-- httpd thread (LuaScope thread). A gate that does not respond within <<gate_timeout>> seconds means 503.

local socket = require "socket"
%% if gate_socket
local unix = require "socket.unix"
%% end

local IDENTITY = {
%% for header in identity
    "<<header.name>>",
%% end
}
local HANDED_ON = { "WWW-Authenticate", "X-Auth-Reason", "Retry-After", "Cache-Control" }
local CLEARED_PREFIXES = {
%% for prefix in prefixes
    "<<prefix.lower>>",
%% end
}
local CLEARED = {
%% for header in cleared_by_name
    ["<<header.lower>>"] = true,
%% end
    -- Headers that apps and frameworks trust from a proxy. httpd itself sets X-Forwarded-For, -Host and -Server, and would
    -- append to the client's values.
    ["x-forwarded-for"] = true,
    ["x-forwarded-host"] = true,
    ["x-forwarded-proto"] = true,
%% for header in believed
    ["<<header.lower>>"] = true,
%% end
}
local TIME = <<gate_timeout>> -- seconds for all of an answer; longer than the gate's keys.timeout and tokenReview.timeout
local LONGEST = 65536 -- bytes of its headers

local kept -- this thread's connection to the gate

local function connected()
%% if gate_socket
    local connection = unix.stream()
    connection:settimeout(1)
    return connection:connect("<<gate_socket>>") and connection
%% else
    local connection = socket.tcp()
    connection:settimeout(1)
    return connection:connect("<<gate_host>>", <<gate_port>>) and connection
%% end
end

-- Returns the status of a response and lists of header values by lower-case name; nothing if there is no response.
local function answered(connection, question, deadline)
    local function in_time()
        local left = math.max(deadline - socket.gettime(), 0.001)
        connection:settimeout(left)
        connection:settimeout(left, "t") -- in total, too, however it trickles in
        return connection
    end
    local function line()
        return (in_time():receive("*l"))
    end
    if not in_time():send(question) then
        return
    end
    local first = line()
    local status = first and tonumber(first:match("^HTTP/1%.1 (%d%d%d) "))
    local headers, size = {}, 0
    while status do
        local text = line()
        if not text then
            return
        elseif text == "" then
            return status, headers
        end
        local name, value = text:match("^([^%s:]+):%s*(.-)%s*$")
        size = size + #text
        if not name or size > LONGEST then
            return
        end
        name = name:lower()
        headers[name] = headers[name] or {}
        table.insert(headers[name], value)
    end
end

-- Uses the kept connection, or a new one if the gate has closed it.
local function asked(question)
    local deadline = socket.gettime() + TIME
    for _ = 1, 2 do
        local connection, old = kept or connected(), kept ~= nil
        kept = nil
        if not connection then
            return
        end
        local status, headers = answered(connection, question, deadline)
        if status and (headers["content-length"] or {})[1] == "0" and not headers["connection"] then
            kept = connection
        else
            connection:close()
        end
        if status or not old then
            return status, headers
        end
    end
end

local function question(r)
    local lines = {
        "GET <<verify_path>> HTTP/1.1",
        "Host: authgate",
        "X-Original-Method: " .. r.method,
        "X-Original-URI: " .. (r.unparsed_uri or ""),
        "X-Original-Host: " .. (r.hostname or ""),
        "X-Forwarded-For: " .. r.useragent_ip,
    }
%% if cookie
    local names = { "X-Request-Id", "Traceparent", "Authorization", "Origin", "Access-Control-Request-Method", "Cookie" }
%% else
    local names = { "X-Request-Id", "Traceparent", "Authorization", "Origin", "Access-Control-Request-Method" }
%% end
%% if token_header
    table.insert(names, "<<token_header>>")
%% end
    for _, name in ipairs(names) do
        if r.headers_in[name] then
            table.insert(lines, name .. ": " .. r.headers_in[name])
        end
    end
    return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

local function cleared(name)
    name = name:lower()
    for _, prefix in ipairs(CLEARED_PREFIXES) do
        if name:sub(1, #prefix) == prefix then
            return true
        end
    end
    return CLEARED[name] or name:find("_", 1, true) ~= nil
end

local function unavailable(r)
    r.err_headers_out["X-Request-Id"] = r.notes["authgate-request-id"]
    r.err_headers_out["Retry-After"] = "5"
    r.err_headers_out["Cache-Control"] = "no-store"
    return 503
end

function check(r)
    -- The request id is httpd's own: one that a client sends could be that of another request. It has only hexadecimal
    -- digits, because the gate's log masks what looks like a token.
    local id = r:sha1(r.subprocess_env["UNIQUE_ID"]):sub(1, 32)
    r.notes["authgate-request-id"] = id
    -- Reject CONNECT and every request target without a leading slash: httpd would choose the virtual host by a target
    -- such as http://app.example.com/, but send the app the name in Host.
    if r.method == "CONNECT" or (r.unparsed_uri or ""):sub(1, 1) ~= "/" then
        return 400
    end
    local names = {}
    for name in pairs(r:headers_in_table()) do
        table.insert(names, name)
    end
    for _, name in ipairs(names) do
        if cleared(name) then
            r.headers_in[name] = nil
        end
    end
    r.headers_in["X-Request-Id"] = id
    r.headers_in["X-Forwarded-Proto"] = r.is_https and "https" or "http"
    -- httpd removes the headers named in Connection before the request reaches the app.
    local connection = (r.headers_in["Connection"] or ""):lower()
    if (r.headers_in["Upgrade"] or ""):lower() == "websocket" then
        r.headers_in["Connection"] = "Upgrade"
    else
        r.headers_in["Upgrade"] = nil
        r.headers_in["Connection"] = connection:find("close") and "close" or nil
    end
%% for path in open_paths
    if r.unparsed_uri == "<<path.path>>" then
        return apache2.DECLINED
    end
%% end
    local status, headers = asked(question(r))
    if status == 200 then
        for _, name in ipairs(IDENTITY) do
            local values = headers[name:lower()]
            if not values then
                return unavailable(r)
            end
            r.headers_in[name] = table.concat(values, ",")
        end
%% if cookie
        -- The client's cookies, without the token.
        local cookies = (headers["x-auth-forward-cookie"] or {})[1]
        r.headers_in["Cookie"] = cookies ~= "" and cookies or nil
%% end
        return apache2.DECLINED
    elseif (status == 401 or status == 403 or status == 503) and headers["x-auth-reason"] then
        r.err_headers_out["X-Request-Id"] = r.notes["authgate-request-id"]
        for _, name in ipairs(HANDED_ON) do
            local values = headers[name:lower()]
            if values then
                r.err_headers_out[name] = values[1]
            end
        end
        return status
    end
    return unavailable(r)
end
